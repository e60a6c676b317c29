/*
 * The floors: for each endpoint the minimum that does the same input and output on a bare Fastify, without Keyturn's code. What
 * is measured against them is what Keyturn adds: fields, claims, revocations, refusals, limits, logs, metrics.
 * FLOOR is a JSON object with the key in PEM, the URL of Redis, and a password's digest.
 */
import { createHmac, createPrivateKey, createPublicKey, randomBytes, sign, verify } from 'node:crypto'
import argon2 from 'argon2'
import Fastify, { type FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'

export interface FloorParts {
  readonly key: string
  readonly redisUrl: string
  readonly digest: string
}

const { key, redisUrl, digest } = JSON.parse(process.env.FLOOR ?? '{}') as FloorParts
const dsaEncoding = 'ieee-p1363' as const
const [signing, verifying] = [
  { key: createPrivateKey(key), dsaEncoding },
  { key: createPublicKey(key), dsaEncoding }
]
const redis = new Redis(redisUrl)
const app = Fastify()
type Posted = FastifyRequest<{ Body: Record<string, string> }>

app.post('/verify', async () => ({}))

app.post('/verify-signature', async ({ body: { token = '' } }: Posted) => {
  const dot = token.lastIndexOf('.')
  const signature = Buffer.from(token.slice(dot + 1), 'base64url')
  if (!verify('sha256', Buffer.from(token.slice(0, dot)), verifying, signature)) throw new Error('a bad signature')
  return {}
})

/** A record read, a record written, and an answer of the shape of a rotation's. */
const script = (await redis.script(
  'LOAD',
  `local record = redis.call('HGET', KEYS[1], ARGV[1])
   redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
   return {'rotated', record and 1 or 0, 2, 3}`
)) as string
const secret = randomBytes(32)
const [sid, record] = [randomBytes(16), randomBytes(44)]
const hmac = (text: string): string => createHmac('sha256', secret).update(text).digest('base64url')
const input = `${Buffer.from('{"alg":"ES256","typ":"JWT","kid":"k"}').toString('base64url')}.${Buffer.alloc(180).toString('base64url')}`
app.post('/refresh', async ({ body: { refresh = '' } }: Posted) => {
  const dot = refresh.lastIndexOf('.')
  hmac(refresh.slice(0, dot))
  await redis.evalsha(script, 1, 'floor', sid, record)
  const access = `${input}.${sign('sha256', Buffer.from(input), signing).toString('base64url')}`
  return { access, refresh: `${input}.${hmac(input)}` }
})

app.post('/obtain', async ({ body: { password = '' } }: Posted) => {
  if (!(await argon2.verify(digest, password))) throw new Error('another password')
  return {}
})

app.get('/forward-auth', async () => ({}))

app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, async (_: unknown, text: string) =>
  Object.fromEntries(new URLSearchParams(text))
)
const claims = { active: true, exp: 1795320298, iat: 1795319998, jti: sid.toString('hex'), username: 'user-1' }
app.post('/introspect', async () => claims)

process.once('SIGTERM', () => process.exit())
console.log(`listens on ${await app.listen({ port: 0, host: '127.0.0.1' })}`)
