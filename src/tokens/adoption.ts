import type { Config } from '../config/settings.ts'
import { showTime } from '../time.ts'

/** Which tokens of another issuer are adopted, in whole seconds since 1970. */
export interface AdoptionRules {
  /** The last second in which an adopted token may have been issued. */
  readonly issuedUntil: number
  /** The last second in which tokens are adopted. */
  readonly adoptedUntil: number
}

/**
 * ADOPT_REFRESH_TOKENS; undefined if it is off. Anyone who has the key can backdate the `iat` of a token, so adoption cannot
 * end by `iat` alone: it ends when the last legitimate token has expired.
 */
export function adoptionRules({
  adoptRefreshTokens,
  refreshTokenLifetime,
  slidingTokenLifetime
}: Pick<Config, 'adoptRefreshTokens' | 'refreshTokenLifetime' | 'slidingTokenLifetime'>): AdoptionRules | undefined {
  if (adoptRefreshTokens === null) return undefined
  const { until } = adoptRefreshTokens
  return { issuedUntil: until, adoptedUntil: until + Math.max(refreshTokenLifetime, slidingTokenLifetime) }
}

/** Whether tokens are adopted at `now`, and an explanation for the operator: a sentence without its full stop. */
export function explainAdoption(config: Config, now: number): { readonly isOn: boolean; readonly explanation: string } {
  const adoption = adoptionRules(config)
  const tokens = 'Refresh tokens of Simple JWT are'
  if (adoption === undefined) return { isOn: false, explanation: `${tokens} not adopted: ADOPT_REFRESH_TOKENS is off` }
  if (config.signingKey === undefined && config.signingKeyPrevious === undefined)
    return { isOn: false, explanation: `${tokens} not adopted: SIGNING_KEY and SIGNING_KEY_PREVIOUS are not set` }
  const risk = 'anyone who has the key that Simple JWT signs with can log in as any user'
  if (adoption.issuedUntil === Number.POSITIVE_INFINITY)
    return { isOn: true, explanation: `${tokens} adopted without a time limit (ADOPT_REFRESH_TOKENS): ${risk}` }
  const end = showTime(adoption.adoptedUntil)
  return now > adoption.adoptedUntil
    ? { isOn: false, explanation: `${tokens} no longer adopted since ${end}: unset ADOPT_REFRESH_TOKENS` }
    : {
        isOn: true,
        explanation: `${tokens} adopted if issued until ${showTime(adoption.issuedUntil)} (ADOPT_REFRESH_TOKENS): until ${end}, ${risk}`
      }
}
