/*
 * The demo's web server: the page, the compiled client, an API that accepts access tokens, and two Keyturns behind /token and
 * /cookie. `fate` decides what becomes of the answer to a refresh: `lose` it, or let it arrive `delayMs` late. The page posts to
 * /lose to have the next answer lost.
 */
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, request as send } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const client = '../../packages/client/dist/src/'
const files = {
  '/': ['index.html', 'text/html'],
  '/demo.js': ['demo.js', 'text/javascript'],
  '/demo.css': ['demo.css', 'text/css'],
  ...Object.fromEntries(
    readdirSync(new URL(client, import.meta.url))
      .filter((name) => name.endsWith('.js'))
      .map((name) => [`/client/${name}`, [`${client}${name}`, 'text/javascript']])
  )
}

const expiryOf = (authorization = '') => {
  try {
    return JSON.parse(Buffer.from(authorization.split('.')[1], 'base64url').toString()).exp
  } catch {
    return 0
  }
}

/** @param upstreams `{ token, cookie }`: where each Keyturn is; a function, so that one may move */
export async function startServer({ upstreams, port = 0, fate = () => ({}), onLose = () => {} }) {
  const refreshes = []
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy())
  })

  async function answer(request, response) {
    const { pathname } = new URL(request.url, 'http://demo')
    const [, name] = pathname.split('/')
    if (upstreams[name] !== undefined) return forward(request, response, name)
    if (pathname === '/lose') {
      onLose()
      return response.writeHead(204).end()
    }
    if (pathname === '/api/orders') {
      // A real service verifies the signature too: docs/services.md.
      const status = expiryOf(request.headers.authorization) > Date.now() / 1000 ? 200 : 401
      return response.writeHead(status, { 'content-type': 'application/json' }).end('{"orders":[]}')
    }
    if (pathname === '/favicon.ico') return response.writeHead(204).end()
    // No script but the files, and no eval.
    const policy = { 'content-security-policy': "default-src 'self'" }
    if (pathname === '/blank') return response.writeHead(200, { ...policy, 'content-type': 'text/html' }).end()
    const [file, type] = files[pathname] ?? []
    if (file === undefined) return response.writeHead(404).end()
    const headers = { ...policy, 'content-type': type, 'cache-control': 'no-store' }
    response.writeHead(200, headers).end(await readFile(new URL(file, import.meta.url)))
  }

  async function forward(request, response, name) {
    const path = request.url.slice(name.length + 1)
    const isRefresh = path === '/api/token/refresh/'
    const { lose = false, delayMs = 0 } = isRefresh ? fate() : {}
    const upstream = send(new URL(path, upstreams[name]()), { method: request.method, headers: request.headers })
    request.pipe(upstream)
    try {
      const [reply] = await once(upstream, 'response')
      if (isRefresh) refreshes.push({ status: reply.statusCode, lost: lose, delayMs })
      // A connection that is cut would make the browser itself repeat the request. This one is silent, as in a tunnel.
      if (lose) return reply.resume()
      await sleep(delayMs)
      response.writeHead(reply.statusCode, reply.headers)
      reply.pipe(response)
    } catch {
      // Keyturn is down.
      response.writeHead(502).end()
    }
  }

  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    refreshes,
    close() {
      server.close()
      server.closeAllConnections()
    }
  }
}
