import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { EventName } from '../src/audit/event.ts'
import type { Outcome } from '../src/flows/outcome.ts'

/**
 * A client's X-Request-ID where it is one, otherwise a new one. Anything else could forge log lines.
 * Source: Heroku's rule, 20 to 200 letters, digits and + / = -.
 */
export function requestIdOf(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && /^[A-Za-z0-9+/=-]{20,200}$/.test(given) ? given : randomUUID()
}

/**
 * A valid `traceparent` as it came, and the id of the trace it is part of; an invalid one counts as none.
 * Source: W3C Trace Context §3.2.
 */
function readTrace({ headers }: IncomingMessage): { readonly traceparent: string; readonly id: string } | undefined {
  const { traceparent } = headers
  if (typeof traceparent !== 'string') return undefined
  const shape = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]*)?$/
  const [, version, id, more] = shape.exec(traceparent) ?? []
  // Versions to come may add to it; this one does not.
  if (id === undefined || (version === '00' && more !== undefined)) return undefined
  return { traceparent, id }
}

/**
 * What each line of the log about a request begins with. It is put into the lines themselves: most requests have one or none, and
 * a child logger for each is made for nothing.
 */
export const whichRequest = ({ id, raw }: FastifyRequest) => ({ reqId: id, trace_id: readTrace(raw)?.id })

/** What came of a request, in one word: the verdict, `ok`, or the code of the refusal in small letters. */
export const resultOf = ({ outcome, refusal }: FastifyRequest): string =>
  outcome?.verdict ?? refusal?.code.toLowerCase() ?? 'ok'

/** What a request was for: what its door does, unless the door does several things and says which it was. */
export const eventOf = ({ outcome, routeOptions }: FastifyRequest): EventName | undefined =>
  outcome?.event ?? routeOptions.config.event

/** Gives every answer its X-Request-ID, and its traceparent back, and every request one log line that says what came of it. */
async function requests(app: FastifyInstance, { isLogged }: { readonly isLogged: boolean }): Promise<void> {
  app.decorateRequest('outcome', undefined)
  app.addHook('onRequest', function nameRequest(request, reply, done) {
    reply.header('x-request-id', request.id)
    const trace = readTrace(request.raw)
    if (trace !== undefined) reply.header('traceparent', trace.traceparent)
    done()
  })
  // All that tells of a request does so here and not in onResponse, which does not run when the client has gone.
  // JSON is UTF-8 by definition (RFC 8259 §8.1), and Django REST framework does not say it again.
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (reply.getHeader('content-type') === 'application/json; charset=utf-8')
      reply.header('content-type', 'application/json')
    done(null, payload)
  })
  if (!isLogged) return
  app.addHook('onSend', (request, reply, payload, done) => {
    const { routeOptions, outcome, refusal } = request
    if (routeOptions.config.quiet === true) return done(null, payload)
    // One literal, of which pino leaves out what is undefined: spread together it costs as much as all the rest of the line.
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
    /** What the route has to tell of the request: user, session, verdict. */
    outcome: Outcome | undefined
  }
  interface FastifyContextConfig {
    /** What the route does, as logs, metrics and the audit trail call it. */
    event?: EventName
    /** No log line for this route: a probe that comes every few seconds. */
    quiet?: boolean
  }
}

export default fp(requests, { name: 'requests', dependencies: ['errors'] })
