import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type ErrorCode, KeyturnError, unreadable } from '../src/errors.ts'
import { chooseLanguage, translateBody } from '../src/i18n/index.ts'
import { makeRetryAfter, type RetryAfter } from '../src/limits/retry-after.ts'
import { securityHeaders } from './headers.ts'
import { whichRequest } from './requests.ts'

export interface ErrorsOptions {
  /** The scheme of the challenge that goes with every 401: the first of AUTH_HEADER_TYPES. */
  readonly scheme: string
}

/** The only writer of error bodies: a KeyturnError as in its table row, Fastify's own errors in the same form, all others as 500. */
async function errors(app: FastifyInstance, { scheme }: ErrorsOptions): Promise<void> {
  const logError = makeErrorLogger()
  const send = (error: KeyturnError, request: FastifyRequest, reply: FastifyReply): void => {
    request.refusal = error
    const { userId: user_id, sid, verdict } = error
    if (user_id !== undefined) request.outcome = { ...request.outcome, user_id, sid, verdict }
    // A coding that is not implemented is the client's choice, and nothing for the operator to fix.
    if (error.status >= 500 && error.code !== 'TRANSFER_CODING') logError(error, request)
    const isOAuth = request.url.startsWith('/oauth/')
    const isByClient = isOAuth || error.code === 'CLIENT_INVALID' || request.client !== undefined
    const challenge = isByClient ? basicChallenge(error) : bearerChallenge(error, scheme)
    if (challenge !== undefined) reply.header('www-authenticate', challenge)
    if (error.status === 503 || error.status === 429) reply.header('retry-after', app.retryAfter(error.retryAfter))
    if (isOAuth) reply.code(error.oauthStatus).send(error.oauthBody)
    else sendBody(error, request, reply)
  }
  app.decorate('retryAfter', makeRetryAfter())
  app.decorateRequest('refusal', undefined)
  app.setErrorHandler((error: FastifyError, request, reply) => {
    send(error instanceof KeyturnError ? error : asKeyturnError(error, request), request, reply)
  })
}

/** How often a full queue is logged, in milliseconds. */
const busyInterval = 10_000

/**
 * Logs errors that the operator may have to fix. A full queue refuses hundreds of logins per second: each has its request
 * line, and all together have one error line per interval, with their number.
 */
function makeErrorLogger(): (error: KeyturnError, request: FastifyRequest) => void {
  let busy = 0
  let busyLoggedAt = Number.NEGATIVE_INFINITY
  return ({ cause, code, message }, request) => {
    if (code !== 'BUSY') {
      // The message of our own error without a cause is complete.
      request.log.error({ ...whichRequest(request), code, ...(cause === undefined ? {} : { err: cause }) }, message)
      return
    }
    busy += 1
    if (performance.now() - busyLoggedAt < busyInterval) return
    request.log.error({ code, requests: busy }, message)
    busy = 0
    busyLoggedAt = performance.now()
  }
}

/** How a client authenticates (RFC 6749 §5.2), also if another client may have the scope that this one lacks. */
const basicChallenge = ({ code, oauthStatus }: KeyturnError): string | undefined =>
  oauthStatus === 401 || code === 'SCOPE_MISSING' ? 'Basic realm="api"' : undefined

/** As in Django REST framework; with an error code after an invalid token, and without one after no token (RFC 6750 §3). */
function bearerChallenge({ status, bearer }: KeyturnError, scheme: string): string | undefined {
  if (bearer !== undefined) return `${scheme} realm="api", error="${bearer}"`
  return status === 401 ? `${scheme} realm="api"` : undefined
}

/**
 * The body in the preferred language of the request. A request without Accept-Language gets exactly the response of Simple JWT,
 * which its clients compare byte for byte.
 */
function sendBody({ status, body }: KeyturnError, request: FastifyRequest, reply: FastifyReply): void {
  reply.code(status)
  const wanted = request.headers['accept-language']
  if (wanted === undefined) return void reply.send(body)
  const language = chooseLanguage(wanted)
  const others = reply.getHeader('vary')
  reply
    .header('content-language', language)
    .header('vary', others === undefined ? 'Accept-Language' : `${others}, Accept-Language`)
    .send(language === 'en' ? body : translateBody(body, language))
}

function asKeyturnError(error: FastifyError, request: FastifyRequest): KeyturnError {
  const as = (code: ErrorCode, detail?: string) =>
    new KeyturnError(code, { cause: error, ...(detail === undefined ? {} : { detail }) })
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return as('TOO_LARGE', String(request.routeOptions.bodyLimit))
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return as('MEDIA_TYPE', request.headers['content-type'] ?? '')
    default:
      return error.statusCode !== undefined && error.statusCode < 500
        ? as('BODY_UNREADABLE', unreadable)
        : as('SERVER_ERROR')
  }
}

/** Answers what Node cannot parse: a header block that is too large (431), a client that is too slow (408), malformed HTTP (400). */
export function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  const [status, text] = brokenRequests[error.code ?? ''] ?? ['400 Bad Request', 'Malformed HTTP request.']
  answerAndClose(socket, status, text)
}

/** Answers CONNECT, which a server that is not a proxy need not implement (RFC 9110 §9.3.6). */
export function refuseTunnel(socket: Socket): void {
  // Node does not listen on this socket any more.
  socket.on('error', () => socket.destroy())
  answerAndClose(socket, '501 Not Implemented', new KeyturnError('METHOD', { detail: 'CONNECT' }).text)
}

function answerAndClose(socket: Socket, status: string, text: string): void {
  const body = JSON.stringify({ detail: text })
  if (socket.writable) {
    const fields = {
      ...securityHeaders,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      connection: 'close'
    }
    const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.write(`HTTP/1.1 ${status}\r\n${head.join('')}\r\n${body}`)
  }
  socket.destroySoon()
}

const brokenRequests: Readonly<Record<string, readonly [status: string, text: string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'The header fields are too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request took too long to arrive.']
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Chooses the Retry-After of a 503 or 429. */
    retryAfter: RetryAfter
  }
  interface FastifyRequest {
    /** Why the request was refused, for its log line. */
    refusal: KeyturnError | undefined
  }
}

export default fp(errors, { name: 'errors' })
