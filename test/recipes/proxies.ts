/* What every proxy of docs/recipes must do, in front of a service and a Keyturn that are real. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { type Enclosure, freePort, openEnclosure, untilReady } from '../support/engines.ts'
import { type Arrived, type KnownKeyturn, type Service, startKnownKeyturn, startService } from '../support/recipes.ts'
import { atMost } from '../support/slack.ts'

export interface World {
  readonly keyturn: KnownKeyturn
  readonly service: Service
  /** HOST:PORT where the proxy is to listen. */
  readonly address: string
  readonly enclosure: Enclosure
}

/** The command that runs the proxy, from its enclosure. */
type Command = readonly [program: string, ...args: string[]]

export interface RunningProxy extends World {
  ask(token: string | undefined, init?: RequestInit): Promise<{ status: number; headers: Headers; body: string }>
}

/** Starts a proxy between a new Keyturn and a new service; all three end with `t`. */
export async function startProxy(
  t: Test,
  name: string,
  write: (world: World) => Command,
  settings: Record<string, string> = {}
): Promise<RunningProxy> {
  const [keyturn, service] = await Promise.all([startKnownKeyturn(t, settings), startService(t)])
  const enclosure = await openEnclosure(name, 'SIGTERM')
  t.teardown(() => enclosure.close())
  const address = `127.0.0.1:${await freePort()}`
  const world = { keyturn, service, address, enclosure }
  const [program, ...args] = write(world)
  const isUp = () =>
    fetch(`http://${address}/`).then(
      ({ status }) => status === 401,
      () => false
    )
  await untilReady(enclosure.spawn(program, args), enclosure, isUp)
  return {
    ...world,
    async ask(token, { headers, ...init } = {}) {
      const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
      const answer = await fetch(`http://${address}/orders?page=2`, {
        ...init,
        headers: { ...authorization, ...(headers as Record<string, string>) }
      })
      return { status: answer.status, headers: answer.headers, body: await answer.text() }
    }
  }
}

/** What a client would like to be taken for: the names that services read, and those that some take for the same. */
const pretence = {
  'X-Auth-User-Id': '1',
  'x-auth-username': 'admin',
  'X-AUTH-SCOPE': 'admin',
  'X-Auth-Session-Id': 'a',
  'X-Auth-Expires': '9'
}
const pretenceOfWsgi = { X_Auth_User_Id: '1', 'X_Auth-Username': 'admin' }

/** Valid tokens pass, others do not; the service accepts the identity only from the proxy. */
export async function passesOnlyTheValid(t: Test, proxy: RunningProxy, reported: { username: boolean }): Promise<void> {
  const { ask, keyturn, service } = proxy
  const { userId, access, refresh, expired, tampered, foreign } = await keyturn.logIn()

  const before = service.count()
  const missing = await ask(undefined)
  t.equal(missing.status, 401, 'no token')
  t.equal(missing.headers.get('www-authenticate'), 'Bearer realm="api"', 'and it says what is missing')
  for (const [name, token] of Object.entries({ expired, tampered, foreign, refresh, garbage: 'x', two: 'a b' })) {
    const { status, headers } = await ask(token, { headers: pretence })
    t.equal(status, 401, name)
    t.match(headers.get('www-authenticate'), /^Bearer realm="api"/)
  }
  t.equal((await ask(undefined, { headers: { authorization: 'Basic dml0b3I6eA==' } })).status, 401, 'another type')
  t.equal(service.count(), before, 'the service has seen none of them')

  const passed = await ask(access, { method: 'POST', body: 'a body' })
  t.equal(passed.status, 200, 'valid')
  const arrived: Arrived = JSON.parse(passed.body)
  t.match(arrived, { method: 'POST', url: '/orders?page=2', body: 'a body' }, 'as it was sent')
  const claims = JSON.parse(Buffer.from(access.split('.')[1] ?? '', 'base64url').toString())
  t.match(arrived.headers, {
    'x-auth-user-id': userId,
    'x-auth-session-id': claims.sid,
    'x-auth-expires': String(claims.exp),
    ...(reported.username ? { 'x-auth-username': 'vitor' } : {})
  })

  const pretended = await ask(access, { headers: { ...pretence, ...pretenceOfWsgi } })
  const { headers }: Arrived = JSON.parse(pretended.body)
  const identity = (all: Arrived['headers']) => Object.entries(all).filter(([name]) => /^x[-_]auth[-_]/.test(name))
  t.same(identity(headers), identity(arrived.headers), 'nothing of what it says itself')
}

/** After a logout its access token is refused: at once, which is within 50 ms when the machine has nothing else to do. */
export async function seesRevocation(t: Test, { ask, keyturn }: RunningProxy): Promise<void> {
  const revoked = await keyturn.logIn()
  const other = await keyturn.logIn()
  t.equal((await ask(revoked.access)).status, 200)
  await keyturn.logOut(revoked)
  t.ok((await untilRefused(() => ask(revoked.access))) < atMost(1000), 'revoked')
  t.equal((await ask(other.access)).status, 200, 'of another session')
}

/** A preflight reaches the service, without the identity that it pretends. */
export async function passesPreflights(t: Test, { ask }: RunningProxy): Promise<void> {
  const { status, body } = await ask(undefined, { method: 'OPTIONS', headers: { 'X-Auth-User-Id': '1' } })
  const { method, headers }: Arrived = JSON.parse(body)
  t.equal(status, 200)
  t.equal(method, 'OPTIONS', 'the service answers it')
  t.notOk('x-auth-user-id' in headers)
  t.equal((await ask(undefined)).status, 401)
}

/** Asks until the answer is 401, and tells how long that took, in milliseconds. */
export async function untilRefused(ask: () => Promise<{ readonly status: number }>): Promise<number> {
  const from = Date.now()
  while ((await ask()).status !== 401 && Date.now() - from < 60_000) await sleep(10)
  return Date.now() - from
}

/** If the validity of a token is unknown, it is refused, and no user is logged out. */
export async function failsClosed(t: Test, { ask, keyturn, service }: RunningProxy): Promise<void> {
  const { access } = await keyturn.logIn()
  t.equal((await ask(access)).status, 200)
  const before = service.count()
  await keyturn.stop()
  const { status } = await ask(access)
  t.ok(status >= 500, `Keyturn is away: ${status}`)
  t.equal(service.count(), before)
}
