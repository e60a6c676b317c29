import { type Config, type SettingName, variableOf } from './settings.ts'

/** The setting that renames a claim, by what Simple JWT calls the claim by default, and Keyturn in its code. */
const renaming = {
  token_type: 'tokenTypeClaim',
  jti: 'jtiClaim',
  user_id: 'userIdClaim',
  hash_password: 'revokeTokenClaim',
  refresh_exp: 'slidingTokenRefreshExpClaim'
} as const satisfies Record<string, SettingName>

type Renamed = keyof typeof renaming

/** What claims are called in tokens. */
export type ClaimNames = Readonly<Record<Renamed, string>>

const claims = Object.keys(renaming) as Renamed[]

/** The names in force. A claim that need not be there (`none`) keeps its name: Keyturn's own tokens cannot do without it. */
export function claimNames(config: Config): ClaimNames {
  const nameOf = (claim: Renamed): string => (config[renaming[claim]] === 'none' ? claim : config[renaming[claim]])
  return Object.fromEntries(claims.map((claim) => [claim, nameOf(claim)])) as Record<Renamed, string>
}

/** A fault line for each claim that is called as one before it. */
export function claimNameFaults(config: Config): readonly string[] {
  const names = claimNames(config)
  return claims
    .filter((claim, index) => claims.findIndex((other) => names[other] === names[claim]) < index)
    .map((claim) => `${variableOf(renaming[claim])}: got "${names[claim]}", expected a name that no other claim has.`)
}
