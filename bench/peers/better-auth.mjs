/*
 * better-auth with email and password, users in PostgreSQL and sessions in Redis, served by node:http as its page on Node says
 * (https://better-auth.com/docs/integrations/node). Sessions are in `secondaryStorage`
 * (https://better-auth.com/docs/concepts/database#secondary-storage) and then not in the database; `password` has argon2id as
 * https://better-auth.com/docs/authentication/email-password shows. Its rate limit is off, as Keyturn's are: all requests come from
 * one address. Telemetry is off by default.
 *
 * Three mounts with the same users and sessions, since what they do is set by options of the whole:
 * /auth    its defaults: get-session reads the session from Redis
 * /extend  `updateAge: 0`: every get-session extends the session and writes it
 * /cached  `cookieCache`, which its page on performance advises
 *          (https://better-auth.com/docs/guides/optimizing-for-performance): get-session reads a signed cookie
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import argon2 from 'argon2'
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { toNodeHandler } from 'better-auth/node'
import { Redis } from 'ioredis'
import pg from 'pg'

const [{ databaseUrl, redisUrl, secret, users, password, argon2: cost }] = await once(process, 'message')
const redis = new Redis(redisUrl, { keyPrefix: 'better-auth:' })
const options = {
  secret,
  baseURL: 'http://127.0.0.1',
  database: new pg.Pool({ connectionString: databaseUrl }),
  secondaryStorage: {
    get: (key) => redis.get(key),
    set: (key, value, ttl) => (ttl ? redis.set(key, value, 'EX', ttl) : redis.set(key, value)),
    delete: (key) => redis.del(key)
  },
  emailAndPassword: {
    enabled: true,
    autoSignIn: false,
    password: {
      hash: (text) => argon2.hash(text, cost),
      verify: ({ hash, password }) => argon2.verify(hash, password)
    }
  },
  rateLimit: { enabled: false }
}
const mounts = {
  '/auth': betterAuth({ ...options, basePath: '/auth' }),
  '/extend': betterAuth({ ...options, basePath: '/extend', session: { updateAge: 0 } }),
  // For as long as the run may last; its page has five minutes.
  '/cached': betterAuth({ ...options, basePath: '/cached', session: { cookieCache: { enabled: true, maxAge: 3600 } } })
}
const { runMigrations } = await getMigrations(mounts['/auth'].options)
await runMigrations()
for (const name of users)
  await mounts['/auth'].api.signUpEmail({ body: { name, email: `${name}@example.com`, password } })

const handlers = Object.fromEntries(Object.entries(mounts).map(([path, auth]) => [path, toNodeHandler(auth)]))
const server = createServer((request, response) => handlers[/^\/\w+/.exec(request.url)[0]](request, response))
await once(server.listen(0, '127.0.0.1'), 'listening')
process.once('disconnect', () => process.exit())
process.send({ port: server.address().port })
