import { type Config, type SettingName, variableOf } from './settings.ts'

/** The settings that rename claims, by the default name, which is the name in the code. */
const renaming = {
  token_type: 'tokenTypeClaim',
  jti: 'jtiClaim',
  user_id: 'userIdClaim',
  hash_password: 'revokeTokenClaim',
  refresh_exp: 'slidingTokenRefreshExpClaim'
} as const satisfies Record<string, SettingName>

type Renamed = keyof typeof renaming

/** The names of claims in tokens. */
export type ClaimNames = Readonly<Record<Renamed, string>>

const claims = Object.keys(renaming) as Renamed[]

/** The configured names. An optional claim (`none`) keeps its default name, since Keyturn's own tokens need it. */
export function claimNames(config: Config): ClaimNames {
  const nameOf = (claim: Renamed): string => (config[renaming[claim]] === 'none' ? claim : config[renaming[claim]])
  return Object.fromEntries(claims.map((claim) => [claim, nameOf(claim)])) as Record<Renamed, string>
}

/** A fault line for each claim with the name of an earlier one. */
export function claimNameFaults(config: Config): readonly string[] {
  const names = claimNames(config)
  return claims
    .filter((claim, index) => claims.findIndex((other) => names[other] === names[claim]) < index)
    .map((claim) => `${variableOf(renaming[claim])}: got "${names[claim]}", expected a claim name that is not in use.`)
}
