import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { makeChargeReset, makeTryPassword } from '../src/flows/guessing.ts'
import { makeHooks } from '../src/flows/hooks.ts'
import { loadHooksModule } from '../src/flows/hooks-module.ts'
import { type Flows, makeFlows } from '../src/flows/index.ts'
import type { Parts } from '../src/flows/parts.ts'
import { passwordPolicy } from '../src/passwords/policy.ts'
import { revocationWindow, sessionPolicy } from '../src/stores/open.ts'
import type { Clock } from '../src/time.ts'
import { makeAccessTokens } from '../src/tokens/access.ts'
import { adoptionRules } from '../src/tokens/adoption.ts'
import { claimRules } from '../src/tokens/claims.ts'
import { makeRefreshTokens } from '../src/tokens/refresh.ts'
import { makeSlidingTokens } from '../src/tokens/sliding.ts'
import { makeRecentUsers } from '../src/users/recent.ts'

/** Composes the use cases from their parts. */
async function flows(app: FastifyInstance, { config, clock }: { config: Config; clock: Clock }): Promise<void> {
  const { stores, codec, keyring, hasher, revocations, clients } = app
  const rules = claimRules(config)
  const hooks = makeHooks(await loadHooksModule(config), {
    rules,
    checkUserIsActive: config.checkUserIsActive,
    failed: (hook, error) => app.log.error({ err: error, hook }, 'hook failed; request continued without it')
  })
  const guessLimits = {
    isOn: config.loginBackoff,
    address: config.loginFailuresAddress,
    everybody: config.loginFailuresAll
  }
  const parts: Parts = {
    users: stores.users,
    recentUsers: makeRecentUsers(stores.users, clock),
    clients,
    sessions: stores.sessions,
    revocations,
    revocationWindow: revocationWindow(config),
    hasher,
    decoySecret: keyring.keys().decoySecret,
    tryPassword: makeTryPassword(stores.guesses, keyring.keys().guessSecret, guessLimits),
    chargeReset: makeChargeReset(stores.guesses, keyring.keys().guessSecret, guessLimits),
    trail: app.auditTrail,
    usersWith: app.usersWith,
    shedsEntry: app.shedsEntry,
    failed: (error) => app.log.error({ err: error }, 'password reset could not be sent'),
    oneTimeTokens: stores.oneTimeTokens,
    codec,
    access: makeAccessTokens(codec, config.accessTokenLifetime, rules, clock),
    refresh: makeRefreshTokens(codec, keyring.keys().jtiSecret, rules, clock, adoptionRules(config)),
    sliding: makeSlidingTokens(
      codec,
      keyring.keys().jtiSecret,
      {
        lifetime: config.slidingTokenLifetime,
        refreshLifetime: config.slidingTokenRefreshLifetime,
        adoption: config.slidingTokens ? adoptionRules(config) : undefined
      },
      rules,
      clock
    ),
    foreignBlacklist: stores.foreignBlacklist,
    slidingTokens: config.slidingTokens,
    hooks,
    rules,
    checkUserIsActive: config.checkUserIsActive,
    updateLastLogin: config.updateLastLogin,
    clock,
    passwordPolicy: passwordPolicy(config),
    sessionPolicy: sessionPolicy(config)
  }
  app.decorate('flows', makeFlows(parts))
  app.addHook('onClose', () => app.flows.passwordForgotten?.settled())
}

declare module 'fastify' {
  interface FastifyInstance {
    flows: Flows
  }
}

export default fp(flows, { name: 'flows', dependencies: ['stores', 'sessions', 'jwt', 'passwords', 'client'] })
