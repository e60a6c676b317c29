/*
 * The types of a hooks module, and the whole public interface of this package:
 * `import type { HooksModule } from 'keyturn'`. It imports nothing, so that its declarations are one file.
 */

/** The named exports of HOOKS_MODULE, each optional. */
export interface HooksModule {
  /** Further claims of a user's access tokens, read at each login and each refresh. */
  readonly claims?: ClaimsFunction
  /** Whether a user whose password or token was valid may log in or refresh. Simple JWT's USER_AUTHENTICATION_RULE. */
  readonly userAuthenticationRule?: (user: ClaimsUser) => boolean | Promise<boolean>
  /** Called when a session has started, before the response is sent. Simple JWT's ON_LOGIN_SUCCESS. */
  readonly onLoginSuccess?: (user: ClaimsUser, login: LoginContext) => unknown
  /**
   * Called when a login has failed, before the response is sent; the password is replaced by twenty asterisks. Simple JWT's
   * ON_LOGIN_FAILED.
   */
  readonly onLoginFailed?: (credentials: Credentials, device: SessionDevice) => unknown
  /** Called before the response to a refresh that may be a thief's, so that the user can be warned. */
  readonly onRefreshVerdict?: (user: ClaimsUser, refresh: RefreshContext) => unknown
  /**
   * Called after the response to a request for a password reset, if the user may reset the password: sends the token to the user,
   * for example by putting a mail into a queue. With this hook, POST /api/password/forgot/ exists.
   */
  readonly onPasswordResetRequested?: (user: ClaimsUser, reset: PasswordResetContext) => unknown
}

/** `claims` of HOOKS_MODULE, or the default export of CLAIMS_MODULE. */
export type ClaimsFunction = (user: ClaimsUser, context: ClaimsContext) => CustomClaims | Promise<CustomClaims>

/** The user as passed to hooks, without the password hash. */
export interface ClaimsUser {
  /** The id in tokens: the field that USER_ID_FIELD names. */
  readonly id: string
  readonly username: string
  readonly isActive: boolean
  /** The custom claims stored with the user. */
  readonly claims: CustomClaims
}

/** When a claims function is called. */
export interface ClaimsContext {
  readonly grant: 'login' | 'refresh'
  /** The session; undefined at a login, whose session has not started yet. */
  readonly sid: string | undefined
}

/** Custom claims. */
export type CustomClaims = Readonly<Record<string, unknown>>

export interface Credentials {
  readonly username: string
  readonly password: string
}

/** The browser or app that started a session, as the session list shows it. */
export interface SessionDevice {
  readonly ip: string
  readonly userAgent: string
}

export interface LoginContext extends SessionDevice {
  readonly sid: string
}

/** A token with which the user can set a password once, and where the request came from. */
export interface PasswordResetContext extends SessionDevice {
  readonly token: string
  /** Whole seconds since 1970. */
  readonly expiresAt: number
}

/** Where a suspicious refresh came from. */
export interface RefreshContext extends SessionDevice {
  readonly sid: string
  /** `late`: a late retry, which was answered; `reused`: theft, for which the session has ended. */
  readonly verdict: 'late' | 'reused'
  /** The address of the login; undefined once the session has ended. */
  readonly loginIp: string | undefined
}
