import type { FastifyInstance, onRequestHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { hasherSettings, makePasswordHasher, type PasswordHasher } from '../src/passwords/hasher.ts'

export interface PasswordsOptions {
  readonly config: Config
  /** Who hashes instead of this process. */
  readonly hasher: PasswordHasher | undefined
}

/**
 * Password hashing, as costly as configured, and `onRequest: app.refuseIfFull`, the first hook of a route for logins. While
 * the queue is full, it refuses a login before the body is read, the address counted or a user looked up: in a storm ten
 * logins are refused for each that is served, and together they would slow down everything else.
 */
async function passwords(app: FastifyInstance, { config, hasher }: PasswordsOptions): Promise<void> {
  app.decorate('hasher', hasher ?? makePasswordHasher(hasherSettings(config)))
  app.decorate('refuseIfFull', function refuseIfFull(_request, _reply, done) {
    app.hasher.refuseIfFull?.()
    done()
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    hasher: PasswordHasher
    /** Throws KeyturnError BUSY while the queue for password hashing is full. */
    refuseIfFull: onRequestHookHandler
  }
}

export default fp(passwords, { name: 'passwords' })
