import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { hasherSettings, makePasswordHasher, type PasswordHasher } from '../src/passwords/hasher.ts'

export interface PasswordsOptions {
  readonly config: Config
  /** Who hashes instead of this process. */
  readonly hasher: PasswordHasher | undefined
}

/** Password hashing, as costly as configured. */
async function passwords(app: FastifyInstance, { config, hasher }: PasswordsOptions): Promise<void> {
  app.decorate('hasher', hasher ?? makePasswordHasher(hasherSettings(config)))
}

declare module 'fastify' {
  interface FastifyInstance {
    hasher: PasswordHasher
  }
}

export default fp(passwords, { name: 'passwords' })
