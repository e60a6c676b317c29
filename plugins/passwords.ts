import type { FastifyInstance, onRequestHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import { hasherSettings, makePasswordHasher, type PasswordHasher } from '../src/passwords/hasher.ts'
import type { Tracing } from '../src/tracing/tracing.ts'

export interface PasswordsOptions {
  readonly config: Config
  /** The hasher to use instead of this process. */
  readonly hasher: PasswordHasher | undefined
}

/**
 * Password hashing, as costly as configured, and `onRequest: app.refuseIfFull`, the first hook of a route for logins. While
 * the queue is full, it refuses a login before the body is read, the address counted or a user looked up: in a storm ten
 * logins are refused for each that is served, and together they would slow down everything else.
 */
async function passwords(app: FastifyInstance, { config, hasher }: PasswordsOptions): Promise<void> {
  const own = hasher ?? makePasswordHasher(hasherSettings(config))
  app.decorate('hasher', app.tracing === undefined ? own : traceHasher(own, app.tracing))
  app.decorate('refuseIfFull', function refuseIfFull(_request, _reply, done) {
    app.hasher.refuseIfFull?.()
    done()
  })
}

/** The same hasher, which adds the time that a request waits in the queue and for the hash to its trace, as a span. */
function traceHasher(hasher: PasswordHasher, tracing: Tracing): PasswordHasher {
  const traced = async <T>(name: string, work: Promise<T>): Promise<T> => {
    const startedAt = performance.now()
    const record = (failure?: string): void => tracing.record({ name, ms: performance.now() - startedAt, failure })
    try {
      const result = await work
      record()
      return result
    } catch (error) {
      record(error instanceof KeyturnError ? error.code : 'ERROR')
      throw error
    }
  }
  return {
    hash: (password, signal) => traced('hash password', hasher.hash(password, signal)),
    verify: (password, digest, signal) => traced('check password', hasher.verify(password, digest, signal)),
    needsRehash: (digest) => hasher.needsRehash(digest),
    refuseIfFull: () => hasher.refuseIfFull?.()
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    hasher: PasswordHasher
    /** Throws KeyturnError BUSY while the queue for password hashing is full. */
    refuseIfFull: onRequestHookHandler
  }
}

export default fp(passwords, { name: 'passwords', dependencies: ['tracing'] })
