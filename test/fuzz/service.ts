/** The service that is fuzzed, with somebody logged in to it. */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import type { InjectOptions } from 'fastify'
import type { Test } from 'tap'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { anOperator, clientToken } from '../support/admin.ts'
import { addClient } from '../support/client.ts'
import { aDevice } from '../support/makers.ts'
import { aModule } from '../support/modules.ts'
import type { Answer, OpenApi } from './document.ts'
import type { FuzzedRequest, Treasure } from './requests.ts'

export interface FuzzedService {
  readonly document: OpenApi
  /** By app.inject. */
  send(request: FuzzedRequest): Promise<Answer>
  /** The bytes of a request over a socket: what came back, whole answers or a part. */
  sendBytes(bytes: Buffer): Promise<string>
  /** The bytes of a request, as a client would write them. */
  bytesOf(request: FuzzedRequest): Buffer
  /** Forgets what was logged. */
  forget(): void
}

/** Where a session may end, or its refresh token go to somebody else; empty lines may come before it. */
const ends = /^(DELETE|POST) .*(blacklist|sessions|password|revoke|refresh|oauth\/token)/m

export async function openFuzzed(t: Test, env: Record<string, string>): Promise<FuzzedService> {
  // Only clients that claim another address are limited, and none for wrong passwords, or most responses would be 429.
  const limits = { RATE_LIMIT_ALLOW: '127.0.0.1', LOGIN_BACKOFF: 'off' }
  // With the hook, there is an endpoint that calls it.
  const hooks = aModule(t, 'export const onPasswordResetRequested = () => {}')
  const service = await openApp(t, { SLIDING_TOKENS: 'true', HOOKS_MODULE: hooks, ...limits, ...env })
  const { app } = service
  const client = await addClient(service, 'gateway', ['orders', 'keyturn.revocations'])
  const user = await service.addUser('vitor', aPassword)
  const admin = await clientToken(service, 'operator', 'keyturn.admin')
  const given: Record<Treasure, string> = {
    admin,
    ...(await mendManaged(service)),
    ...(await logIn(service)),
    ...(await invite(service, user.id)),
    basic: client.authorization.replace('Basic ', ''),
    secret: client.secret,
    password: aPassword,
    etag: String((await app.inject('/.well-known/jwks.json')).headers.etag)
  }
  const fill = (text: string): string => text.replace(/{{(\w+)}}/g, (all, name: Treasure) => given[name] ?? all)
  const filled = ({ method, url, headers, body }: FuzzedRequest) => ({
    method,
    url: fill(url),
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, fill(value)])),
    body: body === undefined ? undefined : typeof body === 'string' ? Buffer.from(fill(body)) : Buffer.from(body)
  })
  /** Logs in again after a request that was granted and may have ended the session, or changed the password. */
  const mend = async (line: string): Promise<void> => {
    if (/^(POST|PUT|PATCH|DELETE) .*admin/m.test(line))
      Object.assign(given, await mendManaged(service), await invite(service, user.id))
    if (!ends.test(line)) return
    if (line.includes('password')) await app.stores.users.setPassword(user.id, user.passwordHash)
    Object.assign(given, await logIn(service), await invite(service, user.id))
  }

  let port: number | undefined
  const underWay = new Set<IncomingMessage>()
  app.server.on('request', (request, response) => {
    underWay.add(request)
    for (const end of ['finish', 'close']) response.on(end, () => underWay.delete(request))
  })
  return {
    document: (await app.inject('/openapi.json')).json(),
    async send(request) {
      const { method, url, headers, body } = filled(request)
      const options = { method, url, headers, ...(body === undefined ? {} : { payload: body }) } as InjectOptions
      const answer = await app.inject(options)
      if (answer.statusCode < 300) await mend(`${method} ${url}`)
      return { status: answer.statusCode, headers: answer.headers, body: answer.body }
    },
    bytesOf(request) {
      const { method, url, headers, body } = filled(request)
      const fields = {
        host: 'localhost',
        ...headers,
        ...(body && { 'content-length': body.length }),
        connection: 'close'
      }
      const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
      return Buffer.concat([
        Buffer.from(`${method} ${url} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'),
        body ?? Buffer.alloc(0)
      ])
    },
    async sendBytes(bytes) {
      port ??= await listen(service)
      underWay.clear()
      const socket = connect(port, '127.0.0.1').setEncoding('latin1')
      const chunks: string[] = []
      socket.on('data', (chunk: string) => chunks.push(chunk)).on('error', () => {})
      // A request that is not whole would be waited for; one that is may take longer than this. Both ends are in this process: the
      // first time it may be that nothing was read yet.
      let quiet = 0
      socket.setTimeout(30).on('timeout', () => {
        quiet += 1
        const isAtWork = [...underWay].some(({ complete }) => complete)
        if (quiet > 1 && (!isAtWork || quiet > 100)) socket.destroy()
        else socket.setTimeout(30)
      })
      socket.write(bytes)
      await once(socket, 'close')
      const answer = chunks.join('')
      if (/HTTP\/1\.1 2/.test(answer)) await mend(bytes.toString('latin1'))
      return answer
    },
    forget() {
      // It is the array that the log is written to.
      ;(service.log as unknown[]).length = 0
    }
  }
}

async function listen({ app }: TestApp): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** A one-time token that sets the user's password. */
const invite = async ({ app }: TestApp, userId: string): Promise<Pick<Record<Treasure, string>, 'invite'>> => ({
  invite: (await app.manage.oneTimeTokens.issue(anOperator, userId, { purpose: 'invite' })).token
})

async function logIn(
  service: TestApp
): Promise<Pick<Record<Treasure, string>, 'access' | 'refresh' | 'sliding' | 'sid'>> {
  const { app, post } = service
  const credentials = { username: 'vitor', password: aPassword }
  const page = { origin: 'http://localhost:80' }
  const pair = await post('/api/token/', credentials, page)
  const { access, refresh = /__Host-refresh=([^;]*)/.exec(String(pair.headers['set-cookie']))?.[1] } = pair.json()
  const { token: sliding } = (await post('/api/token/sliding/', credentials)).json()
  const list = await app.inject({ url: '/api/sessions/', headers: { authorization: `Bearer ${access}` } })
  // A request whose connection has closed may still be at work, and end this session too.
  if (list.statusCode === 401) return await logIn(service)
  return { access, refresh, sliding, sid: list.json().sessions[0].id }
}

/** A user with a session and a client for the management endpoints, with their names free again. */
async function mendManaged({ app }: TestApp): Promise<Pick<Record<Treasure, string>, 'user' | 'session' | 'client'>> {
  const { users, sessions, clients } = app.stores
  const taken = await users.findByUsername('kim')
  if (taken !== undefined) await users.delete(taken.id)
  const victim = (await users.findByUsername('ann')) ?? (await users.create('ann', '!'))
  await sessions.revokeAll(victim?.id ?? '')
  const { session } = await sessions.start(victim?.id ?? '', aDevice)
  await clients.delete('shop')
  await clients.create('stock', 'hash', [])
  return { user: victim?.id ?? '', session: session.sid, client: 'stock' }
}
