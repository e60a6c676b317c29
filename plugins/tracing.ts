import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { readTraceparent } from '../src/tracing/traceparent.ts'
import type { Tracing } from '../src/tracing/tracing.ts'
import { eventOf, methodOf, resultOf } from './requests.ts'

/**
 * A span for every sampled request but those of quiet routes, such as probes, if traces are on; otherwise there are no hooks. Its
 * attributes are the route's template, the status, and the event and result of the log: no path, query or header.
 */
async function tracing(app: FastifyInstance, { tracing }: { readonly tracing: Tracing | undefined }): Promise<void> {
  app.decorate('tracing', tracing)
  if (tracing === undefined) return
  app.addHook('onRequest', function startSpan(request, _reply, done) {
    const { endpoint } = request
    if (endpoint?.config.quiet === true) return done()
    const parent = readTraceparent(request.headers)
    tracing.begin({ method: methodOf(request), route: endpoint?.url, parent }, (span) => {
      request.span = span
      done()
    })
  })
  // Not in onResponse, which does not run when the client has disconnected.
  app.addHook('onSend', (request, reply, payload, done) => {
    const { span } = request
    span?.end({ status: reply.statusCode, event: eventOf(request), result: resultOf(request) })
    done(null, payload)
  })
  app.addHook('onClose', () => tracing.close())
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined if traces are off. */
    readonly tracing: Tracing | undefined
  }
}

export default fp(tracing, { name: 'tracing', dependencies: ['requests'] })
