/*
 * The floors: for each endpoint the least code on a bare Fastify, ioredis, pg, SQLite and node:crypto that receives the same
 * request, does the same input and output, and sends the same header fields and a body of the same size. What is measured against
 * them is what Keyturn adds: fields, rules for claims, revocations, refusals, limits, logs, metrics. bench/sides.ts compares the
 * answers of both sides before it measures them.
 *
 * FLOOR is a JSON object of the type FloorParts.
 */
import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  randomBytes,
  randomUUID,
  sign,
  verify
} from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from '@photostructure/sqlite'
import argon2 from 'argon2'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'
import pg from 'pg'

export interface FloorParts {
  /** In PEM. */
  readonly key: string
  readonly redisUrl: string
  readonly databaseUrl: string
  /** A folder for the embedded database. */
  readonly folder: string
  /** Of the users' password. */
  readonly digest: string
  /** A client's. */
  readonly clientSecret: string
}

const { key, redisUrl, databaseUrl, folder, digest, clientSecret } = JSON.parse(process.env.FLOOR ?? '{}') as FloorParts
const dsaEncoding = 'ieee-p1363' as const
const [signing, verifying] = [
  { key: createPrivateKey(key), dsaEncoding },
  { key: createPublicKey(key), dsaEncoding }
]
const app = Fastify()
type Posted = FastifyRequest<{ Body: Record<string, string> }>

/** The header fields of every answer, as Keyturn sends them. */
const common = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'content-type': 'application/json'
}
const post = { ...common, allow: 'POST, OPTIONS', vary: 'Accept' }
const noStore = { ...post, 'cache-control': 'no-store' }
const answer = <Body>(reply: FastifyReply, headers: Record<string, string>, body: Body): Body => {
  reply.headers(headers).header('x-request-id', randomUUID())
  return body
}

/* Tokens */

const hex = (bytes: number): string => randomBytes(bytes).toString('hex')
const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const now = (): number => Math.floor(Date.now() / 1000)
const secret = randomBytes(32)
const hmac = (text: string): string => createHmac('sha256', secret).update(text).digest('base64url')
const es256 = (text: string): string => sign('sha256', Buffer.from(text), signing).toString('base64url')
const accessHeader = encode({ alg: 'ES256', typ: 'JWT', kid: 'x'.repeat(8) })
const refreshHeader = encode({ alg: 'HS256', typ: 'JWT', kid: 'x'.repeat(8) })
const sid = hex(16)

/** The two tokens of a refresh: an ES256 signature, and two HMACs for the refresh token and its jti. */
function issue(userId: string): { access: string; refresh: string } {
  const iat = now()
  const access = `${accessHeader}.${encode({ token_type: 'access', exp: iat + 86_400, iat, jti: hex(16), user_id: userId, sid })}`
  const jti = hmac(`${sid} ${iat}`).slice(0, 32)
  const refresh = `${refreshHeader}.${encode({ token_type: 'refresh', exp: iat + 86_400, iat, jti, user_id: userId, sid, gen: 12 })}`
  return { access: `${access}.${es256(access)}`, refresh: `${refresh}.${hmac(refresh)}` }
}

/* Verify and forward-auth */

app.post('/verify', async (_, reply) => answer(reply, post, {}))

app.post('/verify-signature', async ({ body: { token = '' } }: Posted, reply) => {
  const dot = token.lastIndexOf('.')
  const signature = Buffer.from(token.slice(dot + 1), 'base64url')
  if (!verify('sha256', Buffer.from(token.slice(0, dot)), verifying, signature)) throw new Error('a bad signature')
  const claims = JSON.parse(Buffer.from(token.slice(token.indexOf('.') + 1, dot), 'base64url').toString())
  if (claims.exp < now()) throw new Error('expired')
  return answer(reply, post, {})
})

const caller = {
  'x-auth-user-id': '0',
  'x-auth-username': 'user-0',
  'x-auth-session-id': sid,
  'x-auth-scope': '',
  'x-auth-expires': String(now() + 86_400)
}
const passed = { ...common, ...caller, vary: 'Authorization', 'cache-control': 'no-store' }
app.get('/forward-auth', async (_, reply) => answer(reply, passed, {}))

/* Refresh, on Redis and PostgreSQL, and embedded */

const redis = new Redis(redisUrl)
/** A record read, a record written, and an answer of the shape of a rotation's. */
const script = (await redis.script(
  'LOAD',
  `local record = redis.call('HGET', KEYS[1], ARGV[1])
   redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
   return {'rotated', record and 1 or 0, 2, 3}`
)) as string
const pool = new pg.Pool({ connectionString: databaseUrl, max: 4 })
const columns = 'id, username, password_hash, is_active, created_at, last_login_at, claims'
const user = { name: 'user', text: `SELECT ${columns} FROM keyturn_users WHERE id = $1` }
const [field, record] = [randomBytes(16), randomBytes(48)]

/** The id in the payload of a refresh token, whose signature is right. */
function holderOf(refresh: string): string {
  const dot = refresh.lastIndexOf('.')
  hmac(refresh.slice(0, dot))
  return JSON.parse(Buffer.from(refresh.slice(refresh.indexOf('.') + 1, dot), 'base64url').toString()).user_id
}

app.post('/refresh', async ({ body: { refresh = '' } }: Posted, reply) => {
  const holder = holderOf(refresh)
  const { rows } = await pool.query({ ...user, values: [holder] })
  if (rows[0]?.is_active !== 1) throw new Error('inactive')
  await redis.evalsha(script, 1, 'floor', field, record)
  return answer(reply, noStore, issue(holder))
})

const file = new DatabaseSync(join(folder, 'floor.db'))
file.exec('pragma journal_mode=WAL')
file.exec('pragma synchronous=FULL')
file.exec('CREATE TABLE users (id TEXT PRIMARY KEY, username TEXT, is_active INTEGER) STRICT')
file.exec('CREATE TABLE sessions (user_id TEXT, sid TEXT, generation INTEGER, PRIMARY KEY (user_id, sid)) STRICT')
for (let id = 0; id < 100; id++) {
  file.prepare('INSERT INTO users VALUES (?, ?, 1)').run(`${id}`, `user-${id}`)
  file.prepare('INSERT INTO sessions VALUES (?, ?, 0)').run(`${id}`, sid)
}
const findUser = file.prepare('SELECT * FROM users WHERE id = ?')
const readSession = file.prepare('SELECT * FROM sessions WHERE user_id = ? AND sid = ?')
const writeSession = file.prepare('UPDATE sessions SET generation = generation + 1 WHERE user_id = ? AND sid = ?')
/** The users of the embedded Keyturn have ids of their own: any of the hundred stands for one. */
let turn = 0
app.post('/refresh-embedded', async ({ body: { refresh = '' } }: Posted, reply) => {
  const holder = holderOf(refresh)
  const id = `${turn++ % 100}`
  findUser.get(id)
  file.exec('BEGIN IMMEDIATE')
  readSession.get(id, sid)
  writeSession.run(id, sid)
  file.exec('COMMIT')
  return answer(reply, noStore, issue(holder))
})

/* Login */

app.post('/obtain', async ({ body: { username = '', password = '' } }: Posted, reply) => {
  const { rows } = await pool.query(`SELECT ${columns} FROM keyturn_users WHERE username = $1`, [username])
  if (!(await argon2.verify(digest, password))) throw new Error('another password')
  await redis.evalsha(script, 1, 'floor', field, record)
  return answer(reply, noStore, issue(rows[0].id))
})

/* Introspection */

app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, async (_: unknown, text: string) =>
  Object.fromEntries(new URLSearchParams(text))
)
const clients = new Map([['gateway', createHash('sha256').update(clientSecret).digest('hex')]])
const claims = {
  active: true,
  token_type: 'Bearer',
  token_use: 'access',
  exp: now() + 86_400,
  iat: now(),
  jti: hex(16),
  user_id: '12',
  sid,
  sub: '12',
  username: 'user-12'
}
app.post('/introspect', async ({ headers: { authorization = '' } }, reply) => {
  const given = decodeURIComponent(Buffer.from(authorization.slice(6), 'base64').toString())
  const proof = createHash('sha256')
    .update(given.slice(given.indexOf(':') + 1))
    .digest('hex')
  if (proof !== clients.get('gateway')) throw new Error('another secret')
  return answer(reply, { ...noStore, pragma: 'no-cache' }, claims)
})

process.once('SIGTERM', () => process.exit())
console.log(`listens on ${await app.listen({ port: 0, host: '127.0.0.1' })}`)
