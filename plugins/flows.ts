import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { type Flows, makeFlows } from '../src/flows/index.ts'
import { revocationWindow } from '../src/stores/open.ts'
import type { Clock } from '../src/time.ts'
import { makeAccessTokens } from '../src/tokens/access.ts'
import { loadClaimsFunction } from '../src/tokens/custom.ts'
import { makeRefreshTokens } from '../src/tokens/refresh.ts'
import { makeRecentUsers } from '../src/users/recent.ts'

/** Gives every use case its parts. */
async function flows(app: FastifyInstance, { config, clock }: { config: Config; clock: Clock }): Promise<void> {
  const { stores, codec, keyring, hasher, revocations, clients } = app
  const { leeway, issuer, audience, blacklistAfterRotation } = config
  const rules = { leeway, issuer, audience }
  app.decorate(
    'flows',
    makeFlows({
      users: stores.users,
      recentUsers: makeRecentUsers(stores.users, clock),
      clients,
      sessions: stores.sessions,
      revocations,
      revocationWindow: revocationWindow(config),
      hasher,
      decoySecret: keyring.keys().decoySecret,
      codec,
      access: makeAccessTokens(
        codec,
        { lifetime: config.accessTokenLifetime, profile: config.tokenProfile },
        rules,
        clock
      ),
      refresh: makeRefreshTokens(codec, keyring.keys().jtiSecret, rules, clock),
      claimsOf: await loadClaimsFunction(config.claimsModule),
      rules,
      clock,
      passwordMinLength: config.passwordMinLength,
      rotate: config.rotateRefreshTokens,
      blacklistAfterRotation
    })
  )
}

declare module 'fastify' {
  interface FastifyInstance {
    flows: Flows
  }
}

export default fp(flows, { name: 'flows', dependencies: ['stores', 'sessions', 'jwt', 'passwords', 'client'] })
