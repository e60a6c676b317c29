/** Someone who can log in. Times are whole seconds since 1970. */
export interface User {
  /** The id in tokens and sessions is this, or the username, depending on USER_ID_FIELD. */
  readonly id: string
  readonly username: string
  readonly passwordHash: string
  readonly isActive: boolean
  readonly createdAt: number
  readonly lastLoginAt: number | undefined
  /** Custom claims of this user's access tokens. */
  readonly claims: Readonly<Record<string, unknown>>
}

/**
 * Whether a decision about `known` still holds for the same user read again later: neither the password nor the
 * activation has changed, and the user still exists.
 */
export const isUnchanged = (known: User, current: User | undefined): boolean =>
  current?.passwordHash === known.passwordHash && current.isActive === known.isActive

/** Usernames are compared in NFKC, as Django stores them (AbstractBaseUser.normalize_username). */
export const normalizeUsername = (username: string): string => username.normalize('NFKC')

/** Longest username, in characters after NFKC. */
export const maxUsernameLength = 254

/**
 * Why a username, in NFKC, is invalid, as a plain sentence; undefined when it is valid. What a login form would
 * trim away, or a header could not carry, is not a username.
 */
export function usernameFault(username: string): string | undefined {
  if (username === '' || username !== username.trim()) return 'It must not be blank, or begin or end with white space.'
  if (/\p{Cc}/u.test(username)) return 'It must not contain control characters.'
  if (/\p{Surrogate}/u.test(username)) return 'It must be Unicode text.'
  if ([...username].length > maxUsernameLength) return `It must have at most ${maxUsernameLength} characters.`
  return undefined
}
