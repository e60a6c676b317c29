import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { isAuthority } from '../src/addresses.ts'
import { KeyturnError, unreadable } from '../src/errors.ts'
import { valuesOf } from '../src/header-fields.ts'
import { answerBrokenRequest, refuseTunnel } from './errors.ts'
import { methods } from './requests.ts'

/**
 * The path and query of a request for the router. A target in absolute form names the same endpoint, and its authority replaces
 * Host (RFC 9112 §3.2.2). The percent signs of a path that cannot be decoded are encoded: no route matches it, and it is refused
 * after the same hooks as any other path; so is a target in an unknown form, which is not changed.
 */
export function rewriteTarget(request: IncomingMessage): string {
  const url = request.url ?? '/'
  const target = url.startsWith('/') ? url : originForm(url, request)
  if (!target.includes('%')) return target
  const [path = ''] = target.split('?', 1)
  try {
    decodeURIComponent(path)
    return target
  } catch {
    return path.replaceAll('%', '%25') + target.slice(path.length)
  }
}

function originForm(url: string, request: IncomingMessage): string {
  const absolute = /^https?:\/\/(?:[^/?#@]*@)?([^/?#]*)([^#]*)/i.exec(url)
  if (absolute === null) return url
  const [, authority = '', rest = ''] = absolute
  // Without a Host field the request is refused below.
  if (request.headers.host !== undefined) request.headers.host = authority
  // RFC 9112 §3.2.4: OPTIONS without a path concerns the server as a whole.
  if (rest === '' && request.method === 'OPTIONS') return '*'
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** The last response on each connection. */
const responses = new WeakMap<Socket, ServerResponse>()

/** Connections on which nothing more can be read. */
const broken = new WeakSet<Socket>()

/** Answers a request that Node cannot parse. */
export const refuseBroken = (error: Error & { readonly code?: string }, socket: Socket): void =>
  answerInTurn(socket, () => answerBrokenRequest(error, socket))

/**
 * Calls `answer`, which closes the connection, after the responses to the requests before. If only the body of a request is
 * broken, the request may have been answered already, and gets no second answer.
 */
function answerInTurn(socket: Socket, answer: () => void): void {
  if (broken.has(socket)) return
  broken.add(socket)
  const response = responses.get(socket)
  if (response === undefined) answer()
  else if (!response.req.complete) response.headersSent ? socket.destroySoon() : answer()
  // Unless the response has announced that it is the last: then the connection is about to be closed.
  else if (response.writableFinished) setImmediate(answer)
  else response.once('close', answer)
}

/**
 * Handles what Node does not pass on as a request. One with an Expect field reaches the hooks, and 100 Continue is sent if they
 * will accept it: Node alone would also continue if one of several expectations is 100-continue, and its refusal has no body.
 * CONNECT, for which Node closes the connection without an answer, is refused, also after the responses before it.
 */
export function handleProtocol(server: Server): void {
  const check = (request: IncomingMessage, response: ServerResponse): void => {
    if (findRefusal(request) === undefined) response.writeContinue()
    server.emit('request', request, response)
  }
  server.on('checkContinue', check).on('checkExpectation', check)
  server.on('request', ({ socket }, response) => responses.set(socket, response))
  server.on('connect', ({ socket }) => answerInTurn(socket, () => refuseTunnel(socket)))
}

/** Whether a request expects anything but 100-continue. HTTP/1.0 has no expectations (RFC 9110 §10.1.1). */
const expectsMore = (request: IncomingMessage): boolean =>
  request.headers.expect !== undefined &&
  request.httpVersion === '1.1' &&
  !valuesOf(request, 'expect').join().split(',').every(isContinue)

/** Empty members of a list are ignored (RFC 9110 §5.6.1.2). */
const isContinue = (expectation: string): boolean => ['100-continue', ''].includes(expectation.trim().toLowerCase())

/**
 * How the transfer codings of a request are refused (RFC 9112 §6.1): 400 if the end of the body is not certain, because chunked is
 * not the last coding, is applied twice, or is used in HTTP/1.0; 501 if the body has another coding too, which nothing here decodes.
 */
function refuseCoding({ headers, httpVersion }: IncomingMessage): KeyturnError | undefined {
  const field = headers['transfer-encoding']
  if (field === undefined) return undefined
  const codings = field.split(',').flatMap((coding) => coding.trim().toLowerCase() || [])
  const isChunkedOnce = codings.indexOf('chunked') === codings.length - 1 && codings.length > 0
  if (!isChunkedOnce || httpVersion !== '1.1') return new KeyturnError('BODY_UNREADABLE', { detail: unreadable })
  return codings.length > 1 ? new KeyturnError('TRANSFER_CODING') : undefined
}

/** Whether the target has a form that its method may have: `*` is for OPTIONS only (RFC 9112 §3.2.4). */
const isTargetValid = ({ url = '', method }: IncomingMessage): boolean =>
  url === '*' ? method === 'OPTIONS' : /^(?:\/|https?:\/\/)/i.test(url)

/**
 * How a request is refused that HTTP requires to be refused: in HTTP/1.1 without Host, with several, because a proxy may have used
 * another one, or with an invalid one (RFC 9112 §3.2); with an invalid target; with a transfer coding other than chunked (§6.1); or
 * with an expectation other than 100-continue (RFC 9110 §10.1.1).
 */
function findRefusal(request: IncomingMessage): KeyturnError | undefined {
  if (!isHostValid(request)) return new KeyturnError('HOST_INVALID')
  if (!isTargetValid(request)) return new KeyturnError('BODY_UNREADABLE', { detail: unreadable })
  return refuseCoding(request) ?? (expectsMore(request) ? new KeyturnError('EXPECTATION') : undefined)
}

/** Refuses requests that HTTP requires to be refused, and answers `OPTIONS *` (RFC 9110 §9.3.7). */
async function protocol(app: FastifyInstance): Promise<void> {
  handleProtocol(app.server)
  app.addHook('onRequest', function checkProtocol(request, reply, done) {
    const { raw, url } = request
    const refusal = findRefusal(raw)
    // A proxy may take another byte for the end of the body, so nothing may follow it.
    if (refusal !== undefined && 'transfer-encoding' in raw.headers) reply.header('connection', 'close')
    if (refusal === undefined && url === '*')
      reply
        .code(204)
        .header('allow', [...methods].join(', '))
        .send()
    else done(refusal)
  })
}

function isHostValid(request: IncomingMessage): boolean {
  const [host, ...others] = valuesOf(request, 'host')
  if (host === undefined) return request.httpVersion !== '1.1'
  // The second is of a target in absolute form.
  const { host: used = '' } = request.headers
  return others.length === 0 && isAuthority(host) && (used === host || isAuthority(used))
}

export default fp(protocol, { name: 'protocol', dependencies: ['errors', 'cors'] })
