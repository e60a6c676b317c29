import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { KeyturnError } from '../src/errors.ts'

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
  const [, authority = '', rest = ''] = /^https?:\/\/(?:[^/?#@]*@)?([^/?#]*)([^#]*)/i.exec(url) ?? []
  // Without a Host field the request is refused below.
  if (request.headers.host !== undefined) request.headers.host = authority
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** `checkExpectation` of a server: Node's own response has no body. */
export const answerExpectation =
  (app: FastifyInstance) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    unmet.add(request)
    app.routing(request, response)
  }

const unmet = new WeakSet<IncomingMessage>()

/**
 * Refuses what HTTP requires to be refused: an HTTP/1.1 request without Host, any request with several, because a proxy may have
 * used another one (RFC 9112 §3.2), and an expectation other than 100-continue (RFC 9110 §10.1.1).
 */
async function protocol(app: FastifyInstance): Promise<void> {
  app.server.on('checkExpectation', answerExpectation(app))
  app.addHook('onRequest', function checkProtocol({ raw }, _reply, done) {
    const hosts = countHosts(raw)
    if (hosts > 1 || (hosts === 0 && raw.httpVersion === '1.1')) done(new KeyturnError('HOST_INVALID'))
    else if (unmet.has(raw)) done(new KeyturnError('EXPECTATION'))
    else done()
  })
}

function countHosts({ rawHeaders }: IncomingMessage): number {
  let hosts = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1
  }
  return hosts
}

export default fp(protocol, { name: 'protocol', dependencies: ['errors', 'cors'] })
