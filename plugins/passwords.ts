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
 * Password hashing, as costly as configured. While too many wait for it, logins are refused before anything else is
 * done for them: before the body is read, the address counted and anybody looked up. In a storm there are ten refusals
 * for a login, and it is their sum that would slow down everything else.
 */
async function passwords(app: FastifyInstance, { config, hasher }: PasswordsOptions): Promise<void> {
  app.decorate('hasher', hasher ?? makePasswordHasher(hasherSettings(config)))
  const refuseIfFull: onRequestHookHandler = (_request, _reply, done) => {
    app.hasher.refuseIfFull?.()
    done()
  }
  app.addHook('onRoute', (route) => {
    if (route.config?.event === 'login') route.onRequest = [refuseIfFull, route.onRequest ?? []].flat()
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    hasher: PasswordHasher
  }
}

export default fp(passwords, { name: 'passwords' })
