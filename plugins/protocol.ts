import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { isAuthority } from '../src/addresses.ts'
import { KeyturnError } from '../src/errors.ts'
import { valuesOf } from '../src/header-fields.ts'

/**
 * The path and query of a request for the router. A target in absolute form names the same endpoint, and its authority replaces
 * Host (RFC 9112 §3.2.2). The percent signs of a path that cannot be decoded are encoded: no route matches it, and it is refused
 * after the same hooks as any other path.
 */
export function rewriteTarget(request: IncomingMessage): string {
  const url = request.url ?? '/'
  const target = url.startsWith('/') || url === '*' ? url : originForm(url, request)
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
  const [, authority, rest = ''] = /^https?:\/\/(?:[^/?#@]*@)?([^/?#]*)([^#]*)/i.exec(url) ?? []
  // Without a Host field the request is refused below.
  if (authority !== undefined && request.headers.host !== undefined) request.headers.host = authority
  return rest.startsWith('/') ? rest : `/${rest}`
}

/**
 * Lets every request with an Expect field reach the hooks, and sends 100 Continue if it expects nothing else. Node alone would also
 * continue if one of several expectations is 100-continue, and its refusal has no body.
 */
export function checkExpectations(server: Server): void {
  const check = (request: IncomingMessage, response: ServerResponse): void => {
    if (!expectsMore(request)) response.writeContinue()
    server.emit('request', request, response)
  }
  server.on('checkContinue', check).on('checkExpectation', check)
}

/** Whether a request expects anything but 100-continue. HTTP/1.0 has no expectations (RFC 9110 §10.1.1). */
const expectsMore = (request: IncomingMessage): boolean =>
  request.headers.expect !== undefined &&
  request.httpVersion === '1.1' &&
  !valuesOf(request, 'expect').join().split(',').every(isContinue)

/** Empty members of a list are ignored (RFC 9110 §5.6.1.2). */
const isContinue = (expectation: string): boolean => ['100-continue', ''].includes(expectation.trim().toLowerCase())

/**
 * Refuses what HTTP requires to be refused: an HTTP/1.1 request without Host, any request with several, because a proxy may have
 * used another one, or with an invalid one (RFC 9112 §3.2), and an expectation other than 100-continue (RFC 9110 §10.1.1).
 */
async function protocol(app: FastifyInstance): Promise<void> {
  checkExpectations(app.server)
  app.addHook('onRequest', function checkProtocol({ raw }, _reply, done) {
    if (!isHostValid(raw)) done(new KeyturnError('HOST_INVALID'))
    else if (expectsMore(raw)) done(new KeyturnError('EXPECTATION'))
    else done()
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
