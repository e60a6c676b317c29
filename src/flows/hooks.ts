import { KeyturnError } from '../errors.ts'
import type {
  ClaimsContext,
  ClaimsFunction,
  Credentials,
  CustomClaims,
  HooksModule,
  LoginContext,
  PasswordResetContext,
  RefreshContext,
  SessionDevice
} from '../hooks.ts'
import { type ClaimRules, noClaims } from '../tokens/claims.ts'
import { claimsFault, makeCustomClaims, withoutPassword } from '../tokens/custom.ts'
import type { User } from '../users/user.ts'

/** The hooks as flows call them: every hook exists, and errors of the operator's functions are handled. */
export interface Hooks {
  /** Whether HOOKS_MODULE or CLAIMS_MODULE adds claims to those that are stored with a user. */
  readonly addClaims: boolean
  /** Whether there are hooks that a refresh waits for: data that was read before them may be out of date afterwards. */
  readonly delayRefresh: boolean
  /**
   * The custom claims of a user's next tokens. They include the claims of an adopted token, unless the user or the hook has a
   * claim of the same name. Throws KeyturnError CLAIMS_FAILED.
   */
  claims(user: User, context: ClaimsContext, carried?: CustomClaims): Promise<CustomClaims>
  /** CHECK_USER_IS_ACTIVE, and then the rule. Throws KeyturnError RULE_FAILED: without a decision the user is refused. */
  mayAuthenticate(user: User): Promise<boolean>
  /** Never throws: a failing notification does not fail the login. The same applies to onLoginFailed. */
  onLoginSuccess(user: User, login: LoginContext): Promise<void>
  onLoginFailed(credentials: Credentials, device: SessionDevice): Promise<void>
  onRefreshVerdict(user: User, refresh: RefreshContext): Promise<void>
  /** Without a user it does the same except calling the hook, so that it takes as long. */
  onPasswordResetRequested(user: User | undefined, reset: PasswordResetContext): Promise<void>
  /** Whether HOOKS_MODULE exports onPasswordResetRequested. */
  readonly sendsPasswordResets: boolean
}

export interface HooksOptions {
  readonly rules: ClaimRules
  readonly checkUserIsActive: boolean
  /** Called when a hook fails whose error is not thrown. */
  readonly failed: (hook: keyof HooksModule, error: unknown) => void
  /** How long a hook may take, in milliseconds: it may wait for something that never happens, and a login would wait with it. */
  readonly timeoutMs?: number
}

const stars = '*'.repeat(20)

export function makeHooks(
  { claims, userAuthenticationRule: rule, ...notified }: HooksModule,
  { rules, checkUserIsActive, failed, timeoutMs = 5000 }: HooksOptions
): Hooks {
  const inTime = <T>(ask: () => T | Promise<T>): Promise<T> => answerWithin(timeoutMs, ask)
  const { onLoginSuccess, onLoginFailed, onRefreshVerdict, onPasswordResetRequested } = notified
  const notify = (hook: keyof HooksModule, ask: () => unknown): Promise<void> =>
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
    addClaims: claims !== undefined,
    delayRefresh: claims !== undefined || rule !== undefined,
    async claims(user, context, carried = noClaims) {
      // Most modules do not export it, and then no timer is needed.
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
      throw new KeyturnError('RULE_FAILED', {
        detail: `userAuthenticationRule returned ${typeof answer}, expected a boolean`
      })
    },
    onLoginSuccess: (user, login) => notify('onLoginSuccess', () => onLoginSuccess?.(withoutPassword(user), login)),
    onLoginFailed: ({ username }, device) =>
      notify('onLoginFailed', () => onLoginFailed?.({ username, password: stars }, device)),
    onRefreshVerdict: (user, refresh) =>
      notify('onRefreshVerdict', () => onRefreshVerdict?.(withoutPassword(user), refresh)),
    onPasswordResetRequested: (user, reset) =>
      notify('onPasswordResetRequested', () => user && onPasswordResetRequested?.(withoutPassword(user), reset)),
    sendsPasswordResets: onPasswordResetRequested !== undefined
  }
}

async function answerWithin<T>(timeoutMs: number, ask: () => T | Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no result within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    return await Promise.race([ask(), late])
  } finally {
    clearTimeout(timer)
  }
}
