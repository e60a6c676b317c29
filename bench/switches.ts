/* Switches for what metrics and traces do in a request: bench/observability.ts puts them into a copy of the service. */
import type { FastifyPluginAsync, onRequestHookHandler, onSendHookHandler } from 'fastify'
import type { Timings } from '../src/timings.ts'

export type Switches = Readonly<Record<'metrics' | 'traces', boolean>>

let on: Switches = { metrics: true, traces: true }

export function turn(switches: Switches): void {
  on = switches
}

/** Of a class of histograms: it counts nothing while metrics are off. */
export function switchTimings({ prototype }: typeof Timings): void {
  const { add } = prototype
  prototype.add = function (...durations) {
    if (on.metrics) add.apply(this, durations)
  }
}

type Hook = onRequestHookHandler | onSendHookHandler

/** Of a plugin whose hooks in requests do nothing while the switch is off. */
export function switched(plugin: FastifyPluginAsync, name: keyof Switches): FastifyPluginAsync {
  const withSwitch: FastifyPluginAsync = async (app, options) => {
    const { addHook } = app
    const replaced = (event: string, hook: Hook) => {
      const wrapped =
        event === 'onRequest'
          ? switchedOnRequest(hook as onRequestHookHandler, name)
          : event === 'onSend'
            ? switchedOnSend(hook as onSendHookHandler, name)
            : hook
      return addHook.call(app, event as 'onClose', wrapped as never)
    }
    app.addHook = replaced as typeof addHook
    await plugin(app, options)
    app.addHook = addHook
  }
  // Its name, its dependencies, and that it is not encapsulated.
  for (const key of Object.getOwnPropertySymbols(plugin)) Object.assign(withSwitch, { [key]: Reflect.get(plugin, key) })
  return withSwitch
}

const switchedOnRequest = (hook: onRequestHookHandler, name: keyof Switches): onRequestHookHandler =>
  function onRequest(request, reply, done) {
    if (on[name]) hook.call(this, request, reply, done)
    else done()
  }

const switchedOnSend = (hook: onSendHookHandler, name: keyof Switches): onSendHookHandler =>
  function onSend(request, reply, payload, done) {
    if (on[name]) hook.call(this, request, reply, payload, done)
    else done(null, payload)
  }
