import { KeyturnError } from '../errors.ts'
import type { SessionDevice } from '../sessions/session.ts'
import { type ClaimRules, type CustomClaims, noClaims } from '../tokens/claims.ts'
import {
  type ClaimsContext,
  type ClaimsFunction,
  type ClaimsUser,
  claimsFault,
  makeCustomClaims,
  withoutPassword
} from '../tokens/custom.ts'
import type { User } from '../users/user.ts'
import type { Credentials } from './credentials.ts'

/** What a deployment adds of its own: the named exports of HOOKS_MODULE, each as wanted. */
export interface HooksModule {
  readonly claims?: ClaimsFunction
  /** Whether a user may log in or refresh whose password or token was right. Simple JWT's USER_AUTHENTICATION_RULE. */
  readonly userAuthenticationRule?: (user: ClaimsUser) => boolean | Promise<boolean>
  /** Called when a session has started, before the response is sent. Simple JWT's ON_LOGIN_SUCCESS. */
  readonly onLoginSuccess?: (user: ClaimsUser, login: LoginContext) => unknown
  /** Called when a login has failed, before the response is sent; the password is masked by twenty stars. Simple JWT's ON_LOGIN_FAILED. */
  readonly onLoginFailed?: (credentials: Credentials, device: SessionDevice) => unknown
  /** Is called before the answer to a refresh that may be a thief's, so that the user can be warned. */
  readonly onRefreshVerdict?: (user: ClaimsUser, refresh: RefreshContext) => unknown
}

/** Where a suspicious refresh came from. */
export interface RefreshContext extends SessionDevice {
  readonly sid: string
  /** `late`: a late retry, which was answered; `reused`: theft, for which the session has ended. */
  readonly verdict: 'late' | 'reused'
  /** The address of the login. Undefined where the session is over. */
  readonly loginIp: string | undefined
}

export interface LoginContext extends SessionDevice {
  readonly sid: string
}

/** The hooks as flows call them: all are there, and what goes wrong in a deployment's own has been dealt with. */
export interface Hooks {
  /** Whether the deployment has hooks that a refresh waits for: what was read before them may be out of date after them. */
  readonly delayRefresh: boolean
  /**
   * The custom claims of a user's next tokens. Those that an adopted token carries are among them, unless the user's own or the
   * hook's have the same name. Throws KeyturnError CLAIMS_FAILED.
   */
  claims(user: User, context: ClaimsContext, carried?: CustomClaims): Promise<CustomClaims>
  /** CHECK_USER_IS_ACTIVE, and then the rule. Throws KeyturnError RULE_FAILED: who cannot be asked about is not let in. */
  mayAuthenticate(user: User): Promise<boolean>
  /** Never throws: a failing notification does not fail the login. The same applies to onLoginFailed. */
  onLoginSuccess(user: User, login: LoginContext): Promise<void>
  onLoginFailed(credentials: Credentials, device: SessionDevice): Promise<void>
  onRefreshVerdict(user: User, refresh: RefreshContext): Promise<void>
}

export interface HooksOptions {
  readonly rules: ClaimRules
  readonly checkUserIsActive: boolean
  /** Called when a hook fails whose error is not thrown. */
  readonly failed: (hook: keyof HooksModule, error: unknown) => void
  /** How long a hook may take, in milliseconds: what it waits for may never come, and a login would wait with it. */
  readonly timeoutMs?: number
}

const stars = '*'.repeat(20)

export function makeHooks(
  { claims, userAuthenticationRule: rule, onLoginSuccess, onLoginFailed, onRefreshVerdict }: HooksModule,
  { rules, checkUserIsActive, failed, timeoutMs = 5000 }: HooksOptions
): Hooks {
  const inTime = <T>(ask: () => T | Promise<T>): Promise<T> => answerWithin(timeoutMs, ask)
  const tell = (hook: keyof HooksModule, ask: () => unknown): Promise<void> =>
    inTime(ask).then(
      () => {},
      (error) => failed(hook, error)
    )
  // Claims kept with the user are in the token too, unless the function gives one of the same name.
  const claimsOf: ClaimsFunction = async (user, context) => ({ ...user.claims, ...(await claims?.(user, context)) })
  const customClaims = makeCustomClaims((user, context) => inTime(() => claimsOf(user, context)), rules.names)
  const withCarried = (own: CustomClaims, carried: CustomClaims): CustomClaims => {
    const all = { ...carried, ...own }
    const fault = claimsFault(all, rules.names)
    if (fault !== undefined)
      throw new KeyturnError('CLAIMS_FAILED', { detail: `with the claims of the adopted token ${fault}` })
    return all
  }
  return {
    delayRefresh: claims !== undefined || rule !== undefined,
    async claims(user, context, carried = noClaims) {
      // Most deployments have none, and need no timer for it.
      const hasNone = claims === undefined && Object.keys(user.claims).length === 0
      const own = hasNone ? noClaims : await customClaims(user, context)
      return carried === noClaims ? own : withCarried(own, carried)
    },
    async mayAuthenticate(user) {
      if (checkUserIsActive && !user.isActive) return false
      if (rule === undefined) return true
      const answer: unknown = await inTime(() => rule(withoutPassword(user))).catch((cause) => {
        throw new KeyturnError('RULE_FAILED', { detail: 'userAuthenticationRule failed', cause })
      })
      if (typeof answer === 'boolean') return answer
      throw new KeyturnError('RULE_FAILED', { detail: `userAuthenticationRule gave ${typeof answer}, no boolean` })
    },
    onLoginSuccess: (user, login) => tell('onLoginSuccess', () => onLoginSuccess?.(withoutPassword(user), login)),
    onLoginFailed: ({ username }, device) =>
      tell('onLoginFailed', () => onLoginFailed?.({ username, password: stars }, device)),
    onRefreshVerdict: (user, refresh) =>
      tell('onRefreshVerdict', () => onRefreshVerdict?.(withoutPassword(user), refresh))
  }
}

async function answerWithin<T>(timeoutMs: number, ask: () => T | Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    return await Promise.race([ask(), late])
  } finally {
    clearTimeout(timer)
  }
}
