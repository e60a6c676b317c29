import type { ClaimNames } from '../config/claim-names.ts'
import { KeyturnError } from '../errors.ts'
import type { ClaimsContext, ClaimsFunction, ClaimsUser, CustomClaims } from '../hooks.ts'
import type { User } from '../users/user.ts'
import { reservedClaims } from './claims.ts'

export const withoutPassword = ({ id, username, isActive, claims }: User): ClaimsUser => ({
  id,
  username,
  isActive,
  claims
})

/** Longest custom claims, as bytes of JSON: with them a token stays within the 4096 characters that are ever read. */
const longestClaims = 2048

/** Gives the custom claims of a user's next access token. */
export type CustomClaimsOf = (user: User, context: ClaimsContext) => Promise<CustomClaims>

/**
 * Asks `claimsOf`, and takes of its answer only what can be claims. Throws KeyturnError CLAIMS_FAILED (500, and no token) when
 * the function fails, or gives a reserved name, no object, or too much.
 */
export function makeCustomClaims(claimsOf: ClaimsFunction, names: ClaimNames): CustomClaimsOf {
  const failed = (detail: string, cause?: unknown) => new KeyturnError('CLAIMS_FAILED', { detail, cause })
  return async (user, context) => {
    let custom: CustomClaims
    try {
      custom = await claimsOf(withoutPassword(user), context)
    } catch (error) {
      throw failed('the claims function failed', error)
    }
    const fault = claimsFault(custom, names)
    if (fault !== undefined) throw failed(fault)
    // Plain members only: a toJSON among them would speak for the whole token.
    return JSON.parse(JSON.stringify(custom))
  }
}

/** Why a value, or what JSON makes of it, cannot be custom claims; undefined when it can. */
export function claimsFault(value: unknown, names: ClaimNames): string | undefined {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch {
    return 'the claims cannot be written as JSON'
  }
  const claims: unknown = json === undefined ? undefined : JSON.parse(json)
  if (json === undefined || typeof claims !== 'object' || claims === null || Array.isArray(claims))
    return 'the claims are no object'
  const reserved = reservedClaims(names)
  const taken = Object.keys(claims).find((name) => reserved.has(name))
  if (taken !== undefined) return `the claim ${taken} is Keyturn's own`
  return Buffer.byteLength(json) > longestClaims ? `the claims are longer than ${longestClaims} bytes` : undefined
}
