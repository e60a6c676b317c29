/** Someone who can log in. Times are whole seconds since 1970. */
export interface User {
  /** What tokens carry, and sessions are kept under: the field that USER_ID_FIELD names. */
  readonly id: string
  readonly username: string
  readonly passwordHash: string
  readonly isActive: boolean
  readonly createdAt: number
  readonly lastLoginAt: number | undefined
  /** Custom claims of this user's access tokens. */
  readonly claims: Readonly<Record<string, unknown>>
}

/** Usernames are compared in NFKC, as Django stores them (AbstractBaseUser.normalize_username). */
export const normalizeUsername = (username: string): string => username.normalize('NFKC')

/** Longest username, in characters after NFKC. */
export const longestUsername = 254
