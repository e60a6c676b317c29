import type { Config } from '../config/settings.ts'
import type { FieldMessage } from '../errors.ts'
import { isCommon } from './common.ts'

/** Bytes in UTF-8. Longer ones are refused, never cut. */
export const longestPassword = 1024

export interface PasswordPolicy {
  /** Characters. */
  readonly minLength: number
  /** Whether those that many people use are refused. */
  readonly refusesCommon: boolean
  /** What this service is called, by those who guess. */
  readonly serviceNames: readonly string[]
}

export const passwordPolicy = (config: Config): PasswordPolicy => ({
  minLength: config.passwordMinLength,
  refusesCommon: config.passwordRefuseCommon,
  serviceNames: ['keyturn', ...namesOfHost(config.issuer)]
})

/** https://auth.example.com is auth.example.com, auth and example. */
function namesOfHost(issuer: string | undefined): readonly string[] {
  const { hostname } = issuer !== undefined && URL.canParse(issuer) ? new URL(issuer) : { hostname: '' }
  return hostname === '' ? [] : [hostname, ...hostname.split('.').slice(0, -1)]
}

/**
 * Why `password` may not be set for the user called `username`, as a plain sentence; undefined when it may. It never
 * contains the password. Without a policy only what could never be logged in with is refused.
 *
 * NIST SP 800-63B-4 §3.1.1.2: a least length, all characters count, and a comparison of the whole password with those
 * that are common or to be expected here. It advises against rules of composition, so there are none.
 */
export async function passwordFault(
  password: string,
  username: string,
  policy: PasswordPolicy | undefined
): Promise<FieldMessage | undefined> {
  if (password.includes('\0')) return 'The password must not contain a NUL character.'
  // A lone surrogate is not text: as UTF-8 each becomes the same replacement character, and so each matches every other.
  if (/\p{Surrogate}/u.test(password)) return 'The password must be Unicode text.'
  // Login forms of Simple JWT trim their fields (Python's strip takes control characters too): such a password never matches.
  if (/^[\s\p{Cc}]|[\s\p{Cc}]$/u.test(password)) return 'The password must not begin or end with white space.'
  if (Buffer.byteLength(password) > longestPassword)
    return `The password is too long: at most ${longestPassword} bytes are taken.`
  if (password === '') return 'The password must not be empty.'
  if (policy === undefined) return undefined
  const { minLength, refusesCommon, serviceNames } = policy
  if ([...password].length < minLength) return `The password is too short: at least ${minLength} characters are needed.`
  const expected = [username, username.replace(/@.*$/, ''), ...serviceNames]
  if (expected.some((name) => isLittleMore(password, name)))
    return 'The password is too close to the username or to the name of the service.'
  if (refusesCommon && (await isCommon(fold(password)))) return 'The password is too common: many people use it.'
  return undefined
}

/** Names that are shorter may well be in a good password. */
const shortestName = 4

/** Whether `password` is `name`, or that with figures and signs around it: `Ann.Miller2026!`. */
function isLittleMore(password: string, name: string): boolean {
  const [own, other] = [fold(password), fold(name)]
  return own === other || (bare(other).length >= shortestName && bare(own) === bare(other))
}

const fold = (text: string): string => text.normalize('NFKC').toLowerCase()

const bare = (text: string): string => text.replace(/^\P{L}+|\P{L}+$/gu, '')
