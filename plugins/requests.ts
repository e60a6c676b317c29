import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { EventName } from '../src/audit/event.ts'
import type { Outcome } from '../src/flows/outcome.ts'

/**
 * The client's X-Request-ID if it is valid, otherwise a new one. Other values could forge log lines.
 * Source: Heroku's rule, 20 to 200 letters, digits and + / = -.
 */
export function requestIdOf(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && /^[A-Za-z0-9+/=-]{20,200}$/.test(given) ? given : randomUUID()
}

/**
 * A valid `traceparent`, and the id of its trace; an invalid one is ignored.
 * Source: W3C Trace Context §3.2.
 */
function readTrace({ headers }: IncomingMessage): { readonly traceparent: string; readonly id: string } | undefined {
  const { traceparent } = headers
  if (typeof traceparent !== 'string') return undefined
  const shape = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]*)?$/
  const [, version, id, more] = shape.exec(traceparent) ?? []
  // Later versions may add fields; this one has none.
  if (id === undefined || (version === '00' && more !== undefined)) return undefined
  return { traceparent, id }
}

/**
 * The fields that identify a request in its log lines. They are added to each line: most requests have one line or none, so a
 * child logger per request would be wasted.
 */
export const whichRequest = ({ id, raw }: FastifyRequest) => ({ reqId: id, trace_id: readTrace(raw)?.id })

/** The result of a request in one word: the verdict, `ok`, or the error code in lower case. */
export const resultOf = ({ outcome, refusal }: FastifyRequest): string =>
  outcome?.verdict ?? refusal?.code.toLowerCase() ?? 'ok'

/** The event of a request: that of its route, unless the route has several and sets one. */
export const eventOf = ({ outcome, routeOptions }: FastifyRequest): EventName | undefined =>
  outcome?.event ?? routeOptions.config.event

/** Adds X-Request-ID and traceparent to every response, and logs one line per request with its result. */
async function requests(app: FastifyInstance, { isLogged }: { readonly isLogged: boolean }): Promise<void> {
  app.decorateRequest('outcome', undefined)
  app.addHook('onRequest', function nameRequest(request, reply, done) {
    reply.header('x-request-id', request.id)
    const trace = readTrace(request.raw)
    if (trace !== undefined) reply.header('traceparent', trace.traceparent)
    done()
  })
  // Requests are logged and counted here and not in onResponse, which does not run when the client has disconnected.
  // JSON is always UTF-8 (RFC 8259 §8.1), and Django REST framework omits the charset.
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (reply.getHeader('content-type') === 'application/json; charset=utf-8')
      reply.header('content-type', 'application/json')
    done(null, payload)
  })
  if (!isLogged) return
  app.addHook('onSend', (request, reply, payload, done) => {
    const { routeOptions, outcome, refusal } = request
    if (routeOptions.config.quiet === true) return done(null, payload)
    // One literal, from which pino omits undefined fields: spreading objects would cost as much as the rest of the line.
    const line = {
      reqId: request.id,
      trace_id: readTrace(request.raw)?.id,
      method: request.method,
      route: routeOptions.url ?? 'none',
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      ip: request.ip,
      event: eventOf(request),
      refusal: refusal?.code,
      detail: refusal?.detail,
      user_id: outcome?.user_id,
      sid: outcome?.sid,
      client_id: outcome?.client_id,
      verdict: outcome?.verdict,
      login_ip: outcome?.login_ip,
      rehash: outcome?.rehash,
      tokens: outcome?.tokens,
      active: outcome?.active
    } satisfies Readonly<Record<keyof Outcome, unknown>> & Readonly<Record<string, unknown>>
    app.log.info(line, 'request')
    done(null, payload)
  })
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What the route reports about the request: user, session, verdict. */
    outcome: Outcome | undefined
  }
  interface FastifyContextConfig {
    /** The event of the route in logs, metrics and the audit trail. */
    event?: EventName
    /** Requests of this route, such as frequent probes, are not logged. */
    quiet?: boolean
  }
}

export default fp(requests, { name: 'requests', dependencies: ['errors'] })
