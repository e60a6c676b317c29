/* The services of bench/peers/run.ts, on the stores of one stage, and the requests for each. */
import { execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { Scope } from '../../test/faults/worlds.ts'
import { basic } from '../../test/support/client.ts'
import { freePort } from '../../test/support/engines.ts'
import { pythonWithGunicorn } from '../../test/support/gunicorn.ts'
import { openKeyturn, type Service, type Stage } from '../sides.ts'
import type { ClientPlan, PlannedRequest } from './client.ts'

export type Operation = 'login' | 'refresh' | 'verify'

/** A row of the table. */
export interface PeerRow {
  readonly operation: Operation
  /** The row to which the others of its operation are compared is that of `Keyturn`. */
  readonly name: string
  /** What it does more or less than Keyturn's row. */
  readonly note: string
  readonly pid: number
  readonly plan: ClientPlan
}

interface Pair {
  readonly access: string
  readonly refresh: string
}

const folder = fileURLToPath(new URL('../../../bench/peers/', import.meta.url))

/* Requests */

const connections = 16
/** Four at once keep one hasher busy. */
const loginConnections = 4

/** A browser sends Origin, and better-auth demands it. */
const jsonFields = { 'content-type': 'application/json', origin: 'http://127.0.0.1' }
const formFields = { 'content-type': 'application/x-www-form-urlencoded' }

function request(method: string, path: string, fields: Readonly<Record<string, string>>, body = ''): PlannedRequest {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  return { head: `${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${lines.join('')}`, body }
}

const logins = (port: number, path: string, bodies: readonly string[], expects: string): ClientPlan => ({
  port,
  connections: loginConnections,
  requests: bodies.map((body) => request('POST', path, jsonFields, body)),
  expects
})

const refreshes = (port: number, path: string, tokens: readonly Pair[]): ClientPlan => ({
  port,
  connections,
  requests: tokens.map(({ refresh }) => request('POST', path, jsonFields, JSON.stringify({ refresh }))),
  expects: '"access":"',
  chain: { field: 'refresh', body: '{"refresh":"$"}' }
})

const verifications = (port: number, path: string, tokens: readonly Pair[]): ClientPlan => ({
  port,
  connections,
  requests: tokens.map(({ access }) => request('POST', path, jsonFields, JSON.stringify({ token: access }))),
  expects: '{}'
})

const introspections = (port: number, path: string, authorization: string, tokens: readonly Pair[]): ClientPlan => ({
  port,
  connections,
  requests: tokens.map(({ access }) => request('POST', path, { ...formFields, authorization }, `token=${access}`)),
  expects: '"active":true'
})

const sessionsOf = (port: number, path: string, cookies: readonly string[]): ClientPlan => ({
  port,
  connections,
  requests: cookies.map((cookie) => request('GET', path, { cookie })),
  expects: '"session":{'
})

/* Users and stores */

/** What every peer is started with: stores, and users who have the password and its cost of the stage. */
interface PeerParts {
  readonly databaseUrl: string
  readonly redisUrl: string
  readonly secret: string
  readonly users: readonly string[]
  readonly password: string
  /** Of argon2id; memory in KiB. */
  readonly argon2: { readonly memoryCost: number; readonly timeCost: number; readonly parallelism: number }
  readonly digest: string
}

/** With an empty database of its own on the PostgreSQL of the stage. */
async function peerParts(scope: Scope, { settings, credentials, floorParts }: Stage, name: string): Promise<PeerParts> {
  const logins = credentials.map((text) => JSON.parse(text) as { username: string; password: string })
  return {
    databaseUrl: await createDatabase(scope, settings.DATABASE_URL ?? '', `peer_${name}`),
    redisUrl: settings.REDIS_URL ?? '',
    secret: 'a secret of benchmarks that is long enough for every peer',
    users: logins.map(({ username }) => username),
    password: logins[0]?.password ?? '',
    argon2: {
      memoryCost: Number(settings.ARGON2_MEMORY),
      timeCost: Number(settings.ARGON2_TIME),
      parallelism: 1
    },
    digest: floorParts.digest
  }
}

async function createDatabase(scope: Scope, server: string, name: string): Promise<string> {
  const run = async (statement: string): Promise<void> => {
    const client = new pg.Client({ connectionString: server })
    await client.connect()
    await client.query(statement)
    await client.end()
  }
  await run(`CREATE DATABASE ${name}`)
  scope.teardown(() => run(`DROP DATABASE ${name} WITH (FORCE)`))
  return Object.assign(new URL(server), { pathname: name }).href
}

async function logIn(url: string, body: string): Promise<Response> {
  const answer = await fetch(url, { method: 'POST', headers: jsonFields, body })
  if (answer.status !== 200) throw new Error(`${url} answered ${answer.status} ${await answer.text()}`)
  return answer
}

/** A pair of tokens of each user. */
async function pairsOf(url: string, bodies: readonly string[]): Promise<readonly Pair[]> {
  const pairs: Pair[] = []
  for (const body of bodies) pairs.push((await (await logIn(url, body)).json()) as Pair)
  return pairs
}

/* The services */

/** Starts bench/peers/NAME.mjs. It computes one password at a time, as one hasher does. */
async function openNode<T>(scope: Scope, name: string, parts: PeerParts & T) {
  const child = fork(`${folder}${name}.mjs`, {
    env: { PATH: process.env.PATH ?? '', NODE_ENV: 'production', UV_THREADPOOL_SIZE: '1' }
  })
  const ended = once(child, 'exit')
  scope.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  child.send(parts)
  const first = await Promise.race([once(child, 'message'), ended.then(() => undefined)])
  if (first === undefined) throw new Error(`${name} ended before it was ready`)
  const { port, tokens = [] } = first[0] as { port: number; tokens?: readonly Pair[] }
  return { pid: child.pid ?? 0, port, tokens }
}

const isUp = (port: number): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}/`).then(
    () => true,
    () => false
  )

/**
 * One worker of gthread, with as many threads as Gunicorn's page on its design advises for two cores; idle connections are kept for
 * longer than a round (https://docs.gunicorn.org/en/stable/settings.html#keepalive).
 */
async function openGunicorn(scope: Scope, parts: PeerParts): Promise<Service> {
  const peer = JSON.stringify({ ...parts, database_url: parts.databaseUrl })
  const options = { cwd: folder, env: { PATH: process.env.PATH ?? '', PEER: peer, PYTHONDONTWRITEBYTECODE: '1' } }
  const python = pythonWithGunicorn()
  execFileSync(python, ['simplejwt.py'], options)
  const port = await freePort()
  const child = spawn(
    python,
    [
      ...['-m', 'gunicorn', 'simplejwt:application', '--bind', `127.0.0.1:${port}`, '--log-level', 'warning'],
      ...['--worker-class', 'gthread', '--workers', '1', '--threads', '4', '--keep-alive', '75', '--timeout', '180']
    ],
    { ...options, stdio: 'inherit' }
  )
  const ended = once(child, 'exit')
  scope.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  while (child.exitCode === null && !(await isUp(port))) await delay(50)
  if (child.exitCode !== null) throw new Error(`gunicorn ended with ${child.exitCode}`)
  return { pid: child.pid ?? 0, port }
}

const row = (operation: Operation, name: string, { pid }: Service, note: string, plan: ClientPlan): PeerRow => ({
  operation,
  name,
  note,
  pid,
  plan
})

async function keyturnRows(service: Service, { credentials, authorization }: Stage): Promise<readonly PeerRow[]> {
  const { port } = service
  const tokens = await pairsOf(`http://127.0.0.1:${port}/api/token/`, credentials)
  const refreshNote =
    'rotates with reuse detection in one script of Redis, checks the user in PostgreSQL, signs an ES256 access token'
  const verifyNote = 'checks the token and the revocation list in memory: a logout counts at once'
  const introspectNote = 'the same for a client with its secret, and the user (at most some seconds old)'
  return [
    row(
      'login',
      'Keyturn',
      service,
      'one hasher; a session in Redis and an audit entry in PostgreSQL, and the user is read again after it',
      logins(port, '/api/token/', credentials, '"refresh":"')
    ),
    row('refresh', 'Keyturn', service, refreshNote, refreshes(port, '/api/token/refresh/', tokens)),
    row('verify', 'Keyturn', service, verifyNote, verifications(port, '/api/token/verify/', tokens)),
    row(
      'verify',
      'Keyturn, introspection',
      service,
      introspectNote,
      introspections(port, '/oauth/introspect', authorization, tokens)
    )
  ]
}

async function simpleJwtRows(service: Service, { credentials }: Stage): Promise<readonly PeerRow[]> {
  const { port } = service
  const tokens = await pairsOf(`http://127.0.0.1:${port}/api/token/`, credentials)
  const loginNote =
    'HS256; records the refresh token in PostgreSQL; its threads hash several passwords at once, so it may use both cores'
  const refreshNote =
    'HS256; rotates and puts the old token on a blacklist in PostgreSQL (six statements), but two refreshes at once may both ' +
    'succeed; no reuse detection; this version does not check the user'
  const verifyNote =
    'HS256; queries the blacklist in PostgreSQL, which never has an access token: a logout does not end it'
  return [
    row('login', 'Simple JWT', service, loginNote, logins(port, '/api/token/', credentials, '"refresh":"')),
    row('refresh', 'Simple JWT', service, refreshNote, refreshes(port, '/api/token/refresh/', tokens)),
    row('verify', 'Simple JWT', service, verifyNote, verifications(port, '/api/token/verify/', tokens))
  ]
}

async function betterAuthRows(service: Service, { credentials }: Stage): Promise<readonly PeerRow[]> {
  const { port } = service
  const bodies = credentials
    .map((text) => JSON.parse(text))
    .map(({ username, password }) => JSON.stringify({ email: `${username}@example.com`, password }))
  const answers: Response[] = []
  for (const body of bodies) answers.push(await logIn(`http://127.0.0.1:${port}/cached/sign-in/email`, body))
  const cookiesOf = (answer: Response) => answer.headers.getSetCookie().map((cookie) => cookie.replace(/;.*/, ''))
  const cached = answers.map((answer) => cookiesOf(answer).join('; '))
  const plain = answers.map((answer) =>
    cookiesOf(answer)
      .filter((cookie) => cookie.includes('session_token'))
      .join()
  )
  const loginNote = 'one session cookie instead of two tokens; writes the session to Redis, with the list of its user'
  const refreshNote =
    'has no refresh tokens: get-session that extends the session (updateAge 0): four keys of Redis read and two written. The cookie stays the same, so ' +
    'nothing can be detected when it is stolen'
  const verifyNote =
    'get-session: reads two keys of Redis with session and user as they were at the login; a logout counts at once'
  const cachedNote = 'get-session from a signed cookie, without a store: a logout counts when the cookie expires'
  const [extend, get, fromCookie] = ['/extend/get-session', '/auth/get-session', '/cached/get-session']
  return [
    row('login', 'better-auth', service, loginNote, logins(port, '/auth/sign-in/email', bodies, '"token":"')),
    row('refresh', 'better-auth', service, refreshNote, sessionsOf(port, extend, plain)),
    row('verify', 'better-auth', service, verifyNote, sessionsOf(port, get, plain)),
    row('verify', 'better-auth, cookie cache', service, cachedNote, sessionsOf(port, fromCookie, cached))
  ]
}

const [clientId, clientSecret] = ['gateway', 'a-secret-of-the-gateway']

function oidcProviderRows(service: Service & { readonly tokens: readonly Pair[] }): readonly PeerRow[] {
  const { port, tokens } = service
  const authorization = basic(clientId, clientSecret)
  const fields = { ...formFields, authorization }
  const form = 'grant_type=refresh_token&refresh_token='
  const refreshNote =
    'opaque tokens in Redis, so no signature; rotates with reuse detection in fifteen commands, not atomically; authenticates the ' +
    'client and checks the user in PostgreSQL'
  const verifyNote =
    'introspection: authenticates the client, reads the token and its grant from Redis; a logout counts at once'
  return [
    row('refresh', 'node-oidc-provider', service, refreshNote, {
      port,
      connections,
      requests: tokens.map(({ refresh }) => request('POST', '/token', fields, `${form}${refresh}`)),
      expects: '"refresh_token":"',
      chain: { field: 'refresh_token', body: `${form}$` }
    }),
    row(
      'verify',
      'node-oidc-provider',
      service,
      verifyNote,
      introspections(port, '/token/introspection', authorization, tokens)
    )
  ]
}

async function afternoonRows(service: Service, { credentials }: Stage): Promise<readonly PeerRow[]> {
  const { port } = service
  const tokens = await pairsOf(`http://127.0.0.1:${port}/login`, credentials)
  const refreshNote =
    'HS256; one key read and one written; no reuse detection, and two refreshes at once may both succeed; does not check the user'
  const verifyNote = 'HS256, the signature only: a logout does not end the token'
  return [
    row('login', 'afternoon', service, 'HS256; no limits', logins(port, '/login', credentials, '"refresh":"')),
    row('refresh', 'afternoon', service, refreshNote, refreshes(port, '/refresh', tokens)),
    row('verify', 'afternoon', service, verifyNote, verifications(port, '/verify', tokens))
  ]
}

/** Starts Keyturn and its peers; all of it ends with `scope`. */
export async function openServices(scope: Scope, stage: Stage): Promise<readonly PeerRow[]> {
  const keyturn = await openKeyturn(scope, stage)
  const simpleJwt = await openGunicorn(scope, await peerParts(scope, stage, 'simplejwt'))
  const betterAuth = await openNode(scope, 'better-auth', await peerParts(scope, stage, 'better_auth'))
  const client = { clientId, clientSecret }
  const oidcParts = { ...(await peerParts(scope, stage, 'oidc')), ...client }
  const oidcProvider = await openNode(scope, 'oidc-provider', oidcParts)
  const afternoon = await openNode(scope, 'afternoon', await peerParts(scope, stage, 'afternoon'))
  return [
    // Logins come after the second in which Keyturn began its revocation list on an empty Redis: tokens of that second are refused.
    ...(await keyturnRows(keyturn, stage)),
    ...(await simpleJwtRows(simpleJwt, stage)),
    ...(await betterAuthRows(betterAuth, stage)),
    ...oidcProviderRows(oidcProvider),
    ...(await afternoonRows(afternoon, stage))
  ]
}

/** The versions that are measured, but for Node and Keyturn. */
export function versionsOfPython(): string {
  const names = ['Django', 'djangorestframework', 'djangorestframework-simplejwt', 'PyJWT', 'gunicorn', 'psycopg2']
  const program = `import importlib.metadata as m, platform
print("Python", platform.python_version(), *(f"{n} {m.version(n)}" for n in ${JSON.stringify(names)}), sep=", ")`
  return execFileSync(pythonWithGunicorn(), ['-c', program], { encoding: 'utf8' }).trim().replace('Python, ', 'Python ')
}
