import type { HooksModule } from '../../src/hooks.ts'
import { type Environment, loadConfig } from '../../src/config/load.ts'
import { KeyturnError } from '../../src/errors.ts'
import { makeChargeReset, makeTryPassword } from '../../src/flows/guessing.ts'
import { makeHooks } from '../../src/flows/hooks.ts'
import { type Flows, makeFlows } from '../../src/flows/index.ts'
import type { Parts } from '../../src/flows/parts.ts'
import type { GuessStore } from '../../src/passwords/guessing.ts'
import { makePasswordHasher } from '../../src/passwords/hasher.ts'
import { passwordPolicy } from '../../src/passwords/policy.ts'
import { RevocationReplica } from '../../src/sessions/revocations.ts'
import { revocationWindow, sessionPolicy } from '../../src/stores/open.ts'
import { makeManualClock } from '../../src/time.ts'
import { makeAccessTokens } from '../../src/tokens/access.ts'
import { adoptionRules } from '../../src/tokens/adoption.ts'
import { claimRules } from '../../src/tokens/claims.ts'
import type { Payload, TokenCodec } from '../../src/tokens/codec.ts'
import { makeRefreshTokens } from '../../src/tokens/refresh.ts'
import { makeSlidingTokens } from '../../src/tokens/sliding.ts'
import { makeRecentUsers } from '../../src/users/recent.ts'
import type { User } from '../../src/users/user.ts'
import { aDevice, aRevocation } from './makers.ts'
import { makeMemoryOneTimeTokens, makeMemorySessions, makeMemoryUsers } from './memory.ts'

export interface TestFlows extends Parts {
  readonly flows: Flows
  readonly clock: ReturnType<typeof makeManualClock>
  addUser(username?: string): Promise<User>
  /** Logs the user in; without one adds a user first. */
  logIn(username?: string): Promise<{ access: string; refresh: string; sid: string; userId: string }>
}

const noLimits = { isOn: false, address: null, everybody: null }

export const thePassword = 'correct horse'

/** Tokens that are their claims, unsigned. */
export const unsignedCodec: TokenCodec = {
  sign: (use, claims) => `${use}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`,
  read(token) {
    try {
      return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Payload
    } catch (cause) {
      throw new KeyturnError('TOKEN_INVALID', { cause })
    }
  }
}

export interface FlowsOptions {
  readonly env?: Environment
  readonly hooks?: HooksModule
  /** Parts to put in place of the usual ones. */
  readonly change?: (parts: Parts) => Partial<Parts>
}

/** Every flow over stores in memory and a stepped clock, without a server. */
export function openFlows({ env = {}, hooks = {}, change = () => ({}) }: FlowsOptions = {}): TestFlows {
  const config = loadConfig(env)
  const clock = makeManualClock()
  const rules = claimRules(config)
  const [secret, policy] = [Buffer.alloc(32, 'secret'), sessionPolicy(config)]
  const users = makeMemoryUsers(clock)
  const revocations = new RevocationReplica({ window: revocationWindow(config), staleness: 3600 }, clock)
  revocations.heard()
  const usual: Parts = {
    users,
    recentUsers: makeRecentUsers(users, clock),
    clients: { find: () => undefined },
    sessions: makeMemorySessions(policy, clock, undefined, (ids) =>
      revocations.add(ids.map((id) => aRevocation(id, clock(), 'any')))
    ),
    sessionPolicy: policy,
    foreignBlacklist: { has: async () => false },
    revocations,
    revocationWindow: revocationWindow(config),
    hasher: makePasswordHasher({ memory: 8, time: 1, parallelism: 1, queue: 64, form: 'argon2id', rehash: true }),
    decoySecret: secret,
    tryPassword: makeTryPassword({} as GuessStore, secret, noLimits),
    chargeReset: makeChargeReset({} as GuessStore, secret, noLimits),
    trail: { record: async () => {} },
    usersWith: () => users,
    shedsEntry: () => false,
    failed: () => {},
    oneTimeTokens: makeMemoryOneTimeTokens(clock),
    codec: unsignedCodec,
    access: makeAccessTokens(unsignedCodec, config.accessTokenLifetime, rules, clock),
    refresh: makeRefreshTokens(unsignedCodec, secret, rules, clock, adoptionRules(config)),
    sliding: makeSlidingTokens(
      unsignedCodec,
      secret,
      {
        lifetime: config.slidingTokenLifetime,
        refreshLifetime: config.slidingTokenRefreshLifetime,
        adoption: config.slidingTokens ? adoptionRules(config) : undefined
      },
      rules,
      clock
    ),
    slidingTokens: config.slidingTokens,
    hooks: makeHooks(hooks, { rules, checkUserIsActive: config.checkUserIsActive, failed: () => {} }),
    rules,
    checkUserIsActive: config.checkUserIsActive,
    updateLastLogin: config.updateLastLogin,
    clock,
    passwordPolicy: passwordPolicy(config)
  }
  const parts = { ...usual, ...change(usual) }
  const flows = makeFlows(parts)
  const addUser = async (username = 'vitor'): Promise<User> =>
    (await users.create(username, await parts.hasher.hash(thePassword))) as User
  return {
    ...parts,
    flows,
    clock,
    addUser,
    async logIn(username = 'vitor') {
      const { id: userId } = (await users.findByUsername(username)) ?? (await addUser(username))
      const { access, refresh, outcome } = await flows.obtain({ username, password: thePassword }, aDevice)
      return { access, refresh, sid: outcome.sid ?? '', userId }
    }
  }
}
