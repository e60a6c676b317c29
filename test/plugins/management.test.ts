import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { until } from '../support/arbiter.ts'
import { openApp } from '../support/app.ts'

/** An application whose management server listens on a free port. */
async function openManaged(t: Test) {
  const { app } = await openApp(t, { MANAGEMENT_PORT: '0' })
  const server = app.management
  if (server === undefined) throw new Error('there is no management server')
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  return { app, server, port }
}

t.test('with MANAGEMENT_PORT, a path of the other port is 404 whatever the method', async (t) => {
  const { app, port } = await openManaged(t)
  const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const
  const theirs = [
    '/api/admin/users/',
    '/api/admin/users/7/',
    '/api/admin/audit/',
    '/metrics',
    '/health/live',
    '/console/'
  ]
  for (const url of theirs)
    for (const method of methods) {
      const { statusCode, headers } = await app.inject({ method, url })
      t.match({ statusCode, allow: headers.allow }, { statusCode: 404, allow: undefined }, `${method} ${url}`)
    }
  for (const path of ['/api/sessions/', '/api/token/verify/', '/.well-known/jwks.json'])
    for (const method of methods) {
      const { status } = await fetch(`http://127.0.0.1:${port}${path}`, { method })
      t.equal(status, 404, `${method} ${path} on MANAGEMENT_PORT`)
    }
  t.equal((await fetch(`http://127.0.0.1:${port}/api/admin/audit/`, { method: 'POST' })).status, 405, 'its own')
})

t.test('a request on MANAGEMENT_PORT that is in flight when a drain begins is answered', async (t) => {
  const { app, server, port } = await openManaged(t)
  const body = JSON.stringify({ username: 'vitor', password: 'wrong' })
  const headers = { 'content-type': 'application/json', 'content-length': body.length }
  const login = request({ port, host: '127.0.0.1', path: '/api/token/', method: 'POST', headers })
  const answered = once(login, 'response') as Promise<[IncomingMessage]>
  login.write(body.slice(0, 10))
  await once(server, 'request')

  const drained = app.drain({ graceMs: 60_000 })
  // The drain has begun once the port is closed.
  await until(() => !server.listening)
  login.end(body.slice(10))
  const [answer] = await answered
  t.equal(answer.statusCode, 401)
  t.equal(answer.headers.connection, 'close')
  answer.resume()
  await drained
})

t.test('on MANAGEMENT_PORT 100-continue is an expectation that is met, and any other is not', async (t) => {
  const { port } = await openManaged(t)
  for (const [expect, status, body] of [
    ['100-continue', 200, '{"status":"up","checks":{}}'],
    ['foo', 417, '{"detail":"The request expects more than 100-continue."}'],
    ['100-continue, foo', 417, '{"detail":"The request expects more than 100-continue."}']
  ] as const) {
    const asked = request({ port, host: '127.0.0.1', path: '/health/live', headers: { expect } }).end()
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    t.equal(answer.statusCode, status, expect)
    t.equal(await text(answer), body, expect)
  }
})

t.test('on MANAGEMENT_PORT, CONNECT and OPTIONS * are answered too', async (t) => {
  const { port } = await openManaged(t)
  for (const [method, path, status] of [
    ['CONNECT', 'example.com:443', 501],
    ['OPTIONS', '*', 204]
  ] as const) {
    const asked = request({ port, host: '127.0.0.1', method, path }).end()
    const [answer] = (await Promise.race([once(asked, 'response'), once(asked, 'connect')])) as [IncomingMessage]
    t.equal(answer.statusCode, status, method)
    asked.destroy()
  }
})
