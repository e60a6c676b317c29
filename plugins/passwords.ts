import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { argon2Settings, makeArgon2Hasher } from '../src/passwords/argon2.ts'
import type { PasswordHasher } from '../src/passwords/hasher.ts'

export interface PasswordsOptions {
  readonly config: Config
  /** Who hashes instead of this process. */
  readonly hasher: PasswordHasher | undefined
}

/** Password hashing, as costly as configured. */
async function passwords(app: FastifyInstance, { config, hasher }: PasswordsOptions): Promise<void> {
  app.decorate('hasher', hasher ?? makeArgon2Hasher(argon2Settings(config)))
}

declare module 'fastify' {
  interface FastifyInstance {
    hasher: PasswordHasher
  }
}

export default fp(passwords, { name: 'passwords' })
