/*
 * What a good engineer writes in an afternoon with @fastify/jwt and ioredis: access and refresh tokens of HS256, one Redis key per
 * session that holds the identifier of its current refresh token, and the user looked up in PostgreSQL at a login only.
 *
 * It has no reuse detection: a superseded refresh token is refused, and nothing follows from it: a thief who was faster keeps the session. Access tokens are
 * checked by their signature alone, so a logout does not end them. A refresh does not check the user. Two refreshes at once may both
 * succeed, since the key is read and written by two commands. It has no limits, metrics or audit, and logs nothing.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import fastifyJwt from '@fastify/jwt'
import argon2 from 'argon2'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import pg from 'pg'

const [{ databaseUrl, redisUrl, secret, digest, users }] = await once(process, 'message')
const pool = new pg.Pool({ connectionString: databaseUrl })
await pool.query('CREATE TABLE users (id text PRIMARY KEY, username text UNIQUE, password text, is_active boolean)')
for (const user of users) await pool.query('INSERT INTO users VALUES ($1, $1, $2, true)', [user, digest])

const redis = new Redis(redisUrl, { keyPrefix: 'afternoon:' })
const lifetime = 86_400
const app = Fastify()
await app.register(fastifyJwt, { secret, sign: { expiresIn: '1d' } })

/** A pair of tokens; its refresh token replaces the one before it. */
async function issue(sub, sid) {
  const jti = randomUUID()
  await redis.set(`session:${sid}`, jti, 'EX', lifetime)
  return {
    access: app.jwt.sign({ type: 'access', sub, sid }),
    refresh: app.jwt.sign({ type: 'refresh', sub, sid, jti })
  }
}

function read(token, type) {
  try {
    const claims = app.jwt.verify(token)
    return claims.type === type ? claims : undefined
  } catch {
    return undefined
  }
}

const texts = (...names) => ({
  schema: {
    body: {
      type: 'object',
      required: names,
      properties: Object.fromEntries(names.map((name) => [name, { type: 'string' }]))
    }
  }
})
const refuse = (reply) => reply.code(401).send({ error: 'invalid credentials' })

app.post('/login', texts('username', 'password'), async ({ body }, reply) => {
  const { rows } = await pool.query('SELECT id, password, is_active FROM users WHERE username = $1', [body.username])
  const [user] = rows
  if (!user?.is_active || !(await argon2.verify(user.password, body.password))) return refuse(reply)
  return issue(user.id, randomUUID())
})

app.post('/refresh', texts('refresh'), async ({ body }, reply) => {
  const claims = read(body.refresh, 'refresh')
  if (claims === undefined || (await redis.get(`session:${claims.sid}`)) !== claims.jti) return refuse(reply)
  return issue(claims.sub, claims.sid)
})

app.post('/verify', texts('token'), async ({ body }, reply) => (read(body.token, 'access') ? {} : refuse(reply)))

await app.listen({ port: 0, host: '127.0.0.1' })
process.once('disconnect', () => process.exit())
process.send({ port: app.server.address().port })
