/*
 * Clients of a running Keyturn that ask without a pause worth the name, on kept and on fresh connections, and what became
 * of every request.
 */
import { Agent, request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

/** One request, and the status that it is to be answered with. */
export interface Call {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly status: number
  /** Sent as JSON. */
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
}

export interface Failure {
  readonly call: string
  readonly isKept: boolean
  /** A status, or the code of an error. */
  readonly reason: string
  /** Milliseconds since 1970. */
  readonly begunAt: number
  /** The X-Request-ID of the last request that was answered on this connection; undefined on a fresh one. */
  readonly before: string | undefined
}

export interface TrafficReport {
  /** How many requests were answered as they should, by `kept` and `fresh`. */
  readonly answered: Readonly<Record<'kept' | 'fresh', number>>
  readonly failures: readonly Failure[]
  /** The longest that a request took, in milliseconds. */
  readonly longest: number
}

export interface Traffic {
  report(): TrafficReport
  /** Resolves once every client has had its last answer. */
  stop(): Promise<TrafficReport>
}

export interface TrafficOptions {
  /** Clients with one connection each, which they keep as long as they can. */
  readonly kept?: number
  /** Clients that open a connection for each request. */
  readonly fresh?: number
  /** Between two requests of a client, in milliseconds. */
  readonly pause?: number
}

/** Asks all of `calls` in turn, over and over, until it is stopped. */
export function startTraffic(
  url: string,
  calls: readonly Call[],
  { kept = 4, fresh = 2, pause = 10 }: TrafficOptions = {}
): Traffic {
  const answered = { kept: 0, fresh: 0 }
  const failures: Failure[] = []
  let longest = 0
  let isOver = false

  const client = async (name: string, agent: Agent | undefined): Promise<void> => {
    const answeredOn = new WeakMap<object, string>()
    for (let turn = 0; !isOver; turn++) {
      const call = calls[turn % calls.length] as Call
      const id = `${name}-${String(turn).padStart(20, '0')}`
      const begunAt = Date.now()
      const began = performance.now()
      const { reason, socket } = await ask(url, call, agent, id)
      longest = Math.max(longest, performance.now() - began)
      if (reason === undefined) {
        answered[agent === undefined ? 'fresh' : 'kept'] += 1
        if (socket !== undefined) answeredOn.set(socket, id)
      } else {
        const before = socket === undefined ? undefined : answeredOn.get(socket)
        failures.push({ call: `${call.method} ${call.path}`, isKept: agent !== undefined, reason, begunAt, before })
      }
      await delay(pause)
    }
    agent?.destroy()
  }

  const clients = [
    ...Array.from({ length: kept }, (_, index) =>
      client(`kept-${index}`, new Agent({ keepAlive: true, maxSockets: 1 }))
    ),
    ...Array.from({ length: fresh }, (_, index) => client(`fresh-${index}`, undefined))
  ]
  const report = (): TrafficReport => ({ answered: { ...answered }, failures: [...failures], longest })
  return {
    report,
    async stop() {
      isOver = true
      await Promise.all(clients)
      return report()
    }
  }
}

interface Outcome {
  /** Why it failed; undefined when the answer was the right one. */
  readonly reason: string | undefined
  readonly socket: object | undefined
}

function ask(url: string, call: Call, agent: Agent | undefined, id: string): Promise<Outcome> {
  const text = call.body === undefined ? '' : JSON.stringify(call.body)
  const headers = {
    ...call.headers,
    'x-request-id': id,
    ...(text === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  }
  return new Promise((resolve) => {
    let socket: object | undefined
    const sent = request(`${url}${call.path}`, { method: call.method, agent: agent ?? false, headers })
    sent.on('socket', (each) => {
      socket = each
    })
    sent.on('error', (error: NodeJS.ErrnoException) => resolve({ reason: error.code ?? error.message, socket }))
    sent.on('response', (answer) => {
      const { statusCode } = answer
      answer.on('error', (error: NodeJS.ErrnoException) => resolve({ reason: error.code ?? error.message, socket }))
      answer.on('end', () => resolve({ reason: statusCode === call.status ? undefined : String(statusCode), socket }))
      answer.resume()
    })
    sent.end(text)
  })
}
