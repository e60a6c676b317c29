import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { makeArgon2Hasher } from '../src/passwords/argon2.ts'
import type { PasswordHasher } from '../src/passwords/hasher.ts'

/** Password hashing, as costly as configured. */
async function passwords(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  app.decorate(
    'hasher',
    makeArgon2Hasher({
      memory: config.argon2Memory,
      time: config.argon2Time,
      parallelism: config.argon2Parallelism,
      queue: config.hashQueue
    })
  )
}

declare module 'fastify' {
  interface FastifyInstance {
    hasher: PasswordHasher
  }
}

export default fp(passwords, { name: 'passwords' })
