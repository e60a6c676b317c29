import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { EventName } from '../src/audit/event.ts'
import type { Outcome } from '../src/flows/outcome.ts'
import { readTraceparent } from '../src/tracing/traceparent.ts'
import type { RequestSpan } from '../src/tracing/tracing.ts'
import { callerAddress } from './forwarded.ts'

/**
 * The client's X-Request-ID if it is valid, otherwise a new one. Other values could forge log lines.
 * Source: Heroku's rule, 20 to 200 letters, digits and + / = -.
 */
export function requestIdOf(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && /^[A-Za-z0-9+/=-]{20,200}$/.test(given) ? given : randomUUID()
}

/** The span that a request belongs to: its own if it is recorded, otherwise that of the caller. */
const spanOf = ({ span, headers }: FastifyRequest): Pick<RequestSpan, 'traceId' | 'spanId'> | undefined =>
  span ?? readTraceparent(headers)

/**
 * The fields that identify a request in its log lines. They are added to each line: most requests have one line or none, so a
 * child logger per request would be wasted.
 */
export function whichRequest(request: FastifyRequest) {
  const span = spanOf(request)
  return { reqId: request.id, trace_id: span?.traceId, span_id: span?.spanId }
}

/** The methods that the service knows; a client could invent others. Source: OpenTelemetry, http.request.method. */
export const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** The method of a request in metrics and spans. */
export const methodOf = ({ method }: FastifyRequest): string => (methods.has(method) ? method : '_OTHER')

/** The result of a request in one word: the verdict, `ok`, or the error code in lower case. */
export const resultOf = ({ outcome, refusal }: FastifyRequest): string =>
  outcome?.verdict ?? refusal?.code.toLowerCase() ?? 'ok'

/** The event of a request: that of its route, unless the route has several and sets one. */
export const eventOf = ({ outcome, endpoint }: FastifyRequest): EventName | undefined =>
  outcome?.event ?? endpoint?.config.event

/** Adds X-Request-ID and traceparent to every response, and logs one line per request with its result. */
async function requests(app: FastifyInstance, { isLogged }: { readonly isLogged: boolean }): Promise<void> {
  app.decorateRequest('outcome', undefined)
  app.decorateRequest('endpoint', undefined)
  app.decorateRequest('span', undefined)
  app.addHook('onRequest', function nameRequest(request, reply, done) {
    request.endpoint = request.routeOptions
    reply.header('x-request-id', request.id)
    const parent = readTraceparent(request.headers)
    if (parent !== undefined) reply.header('traceparent', parent.text)
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
    const { endpoint, outcome, refusal } = request
    if (endpoint?.config.quiet === true) return done(null, payload)
    const span = spanOf(request)
    // One literal, from which pino omits undefined fields: spreading objects would cost as much as the rest of the line.
    const line = {
      reqId: request.id,
      trace_id: span?.traceId,
      span_id: span?.spanId,
      method: request.method,
      route: endpoint?.url ?? 'none',
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      ip: callerAddress(request),
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
    /** `routeOptions`, for which Fastify creates a new object at each access; undefined before the hooks. */
    endpoint: FastifyRequest['routeOptions'] | undefined
    /** Its span, if traces are on (plugins/tracing.ts). */
    span: RequestSpan | undefined
  }
  interface FastifyContextConfig {
    /** The event of the route in logs, metrics and the audit trail. */
    event?: EventName
    /** Requests of this route, such as frequent probes, are not logged. */
    quiet?: boolean
  }
}

export default fp(requests, { name: 'requests', dependencies: ['errors'] })
