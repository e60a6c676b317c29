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

/** Maximum size of custom claims in bytes of JSON, so that a token stays within the limit of 4096 characters. */
const maxClaimsBytes = 2048

/** Returns the custom claims of a user's next access token. */
export type CustomClaimsOf = (user: User, context: ClaimsContext) => Promise<CustomClaims>

/**
 * Calls `claimsOf` and validates the result. Throws KeyturnError CLAIMS_FAILED (500, and no token) if the function fails, or its
 * result has a reserved name, is not an object, or is too large.
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
    // Plain members only: a toJSON among them would replace the whole token.
    return JSON.parse(JSON.stringify(custom))
  }
}

/** Why a value, or its JSON form, cannot be custom claims; undefined if it can. */
export function claimsFault(value: unknown, names: ClaimNames): string | undefined {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch {
    return 'the claims cannot be written as JSON'
  }
  const claims: unknown = json === undefined ? undefined : JSON.parse(json)
  if (json === undefined || typeof claims !== 'object' || claims === null || Array.isArray(claims))
    return 'the claims are not an object'
  const reserved = reservedClaims(names)
  const taken = Object.keys(claims).find((name) => reserved.has(name))
  if (taken !== undefined) return `the claim ${taken} is Keyturn's own`
  return Buffer.byteLength(json) > maxClaimsBytes ? `the claims are longer than ${maxClaimsBytes} bytes` : undefined
}
