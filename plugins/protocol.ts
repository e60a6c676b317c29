import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { KeyturnError } from '../src/errors.ts'

/**
 * The path and query of a request, as routes know them. A target in absolute form names the same endpoint, and its
 * authority replaces Host (RFC 9112 §3.2.2). A path that cannot be decoded has its percent signs encoded: it is then a
 * path that no route has, and refused like any other, by every hook.
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
  // Without a Host field of its own the request is refused below.
  if (request.headers.host !== undefined) request.headers.host = authority
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** `checkExpectation` of a server: Node's own answer has no body. */
export const answerExpectation =
  (app: FastifyInstance) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    unmet.add(request)
    app.routing(request, response)
  }

const unmet = new WeakSet<IncomingMessage>()

/**
 * Refuses what HTTP demands to refuse: in HTTP/1.1 a request without Host, any request with several, because a proxy may
 * have gone by another one than we do (RFC 9112 §3.2), and an expectation other than 100-continue (RFC 9110 §10.1.1).
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
