import type { Config } from '../config/settings.ts'
import type { FieldMessage } from '../errors.ts'
import { isCommon } from './common.ts'

/** Bytes in UTF-8. Longer ones are refused, never cut. */
export const maxPasswordBytes = 1024

export interface PasswordPolicy {
  /** Characters. */
  readonly minLength: number
  /** Whether commonly used passwords are refused. */
  readonly refusesCommon: boolean
  /** Names of this service that a password should not be. */
  readonly serviceNames: readonly string[]
}

export const passwordPolicy = (config: Config): PasswordPolicy => ({
  minLength: config.passwordMinLength,
  refusesCommon: config.passwordRefuseCommon,
  serviceNames: ['keyturn', ...namesOfHost(config.issuer)]
})

/** https://auth.example.com has the names auth.example.com, auth and example. */
function namesOfHost(issuer: string | undefined): readonly string[] {
  const { hostname } = issuer !== undefined && URL.canParse(issuer) ? new URL(issuer) : { hostname: '' }
  return hostname === '' ? [] : [hostname, ...hostname.split('.').slice(0, -1)]
}

/**
 * Why `password` is refused for the user `username`, in one sentence that never contains the password; undefined if it is
 * allowed. Without a policy, only passwords that could never be used at a login are refused.
 *
 * NIST SP 800-63B-4 §3.1.1.2: a minimum length, all characters allowed, and a comparison of the whole password with common and
 * expected ones. It advises against composition rules.
 */
export async function passwordFault(
  password: string,
  username: string,
  policy: PasswordPolicy | undefined
): Promise<FieldMessage | undefined> {
  if (password.includes('\0')) return 'The password must not contain a NUL character.'
  // In UTF-8 every lone surrogate becomes the same replacement character, so passwords with different ones would match.
  if (/\p{Surrogate}/u.test(password)) return 'The password must be Unicode text.'
  // Simple JWT's endpoints trim fields with Python's strip, which also removes control characters: such a password never matches.
  if (/^[\s\p{Cc}]|[\s\p{Cc}]$/u.test(password)) return 'The password must not begin or end with white space.'
  if (Buffer.byteLength(password) > maxPasswordBytes)
    return `The password is too long: at most ${maxPasswordBytes} bytes are allowed.`
  if (password === '') return 'The password must not be empty.'
  if (policy === undefined) return undefined
  const { minLength, refusesCommon, serviceNames } = policy
  if ([...password].length < minLength) return `The password is too short: at least ${minLength} characters are needed.`
  const expected = [username, username.replace(/@.*$/, ''), ...serviceNames]
  if (expected.some((name) => isLittleMore(password, name)))
    return 'The password is too similar to the username or to the name of the service.'
  if (refusesCommon && (await isCommon(fold(password)))) return 'The password is too common: many people use it.'
  return undefined
}

/** Shorter names may occur in a strong password. */
const shortestName = 4

/** Whether `password` is `name`, possibly with digits and punctuation around it: `Ann.Miller2026!`. */
function isLittleMore(password: string, name: string): boolean {
  const [own, other] = [fold(password), fold(name)]
  return own === other || (bare(other).length >= shortestName && bare(own) === bare(other))
}

const fold = (text: string): string => text.normalize('NFKC').toLowerCase()

const bare = (text: string): string => text.replace(/^\P{L}+|\P{L}+$/gu, '')
