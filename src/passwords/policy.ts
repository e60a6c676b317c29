import type { FieldMessage } from '../errors.ts'

/** Bytes in UTF-8. Longer ones are refused, never cut. */
export const longestPassword = 1024

export interface PasswordPolicy {
  /** Characters. 1 takes everything that can log in at all. */
  readonly minLength: number
  /** Whose password it is to be. */
  readonly username: string
}

/**
 * Why `password` may not be set, as a plain sentence; undefined when it may. It never contains the password.
 * No rules of composition: NIST SP 800-63B §3.1.1.2 advises against them.
 */
export function passwordFault(password: string, { minLength, username }: PasswordPolicy): FieldMessage | undefined {
  if (password.includes('\0')) return 'The password must not contain a NUL character.'
  // A lone surrogate is not text: as UTF-8 each becomes the same replacement character, and so each matches every other.
  if (/\p{Surrogate}/u.test(password)) return 'The password must be Unicode text.'
  // Login forms of Simple JWT trim their fields (Python's strip takes control characters too): such a password never matches.
  if (/^[\s\p{Cc}]|[\s\p{Cc}]$/u.test(password)) return 'The password must not begin or end with white space.'
  if (Buffer.byteLength(password) > longestPassword)
    return `The password is too long: at most ${longestPassword} bytes are taken.`
  if (password === '') return 'The password must not be empty.'
  if ([...password].length < minLength) return `The password is too short: at least ${minLength} characters are needed.`
  if (isSameName(password, username)) return 'The password must not be the username.'
  return undefined
}

const isSameName = (a: string, b: string): boolean => fold(a) === fold(b)

const fold = (text: string): string => text.normalize('NFKC').toLowerCase()
