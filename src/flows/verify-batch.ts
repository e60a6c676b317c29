import { setImmediate } from 'node:timers/promises'
import { inactive, type Introspection, showClaims } from '../tokens/introspection.ts'
import type { Parts } from './parts.ts'
import { makeVerify, unlessRefused } from './verify.ts'

/** Tokens that are verified before other requests have their turn: ten of ES256 take a millisecond (bench/results.md). */
const atOnce = 10

/**
 * What verify says of each of several tokens, in their order, with the claims of those that are good. Throws
 * KeyturnError STORE_DOWN.
 */
export const makeVerifyBatch = (parts: Parts) => {
  const verify = makeVerify(parts)
  return async (tokens: readonly string[]): Promise<Introspection[]> => {
    const results: Introspection[] = []
    for (let first = 0; first < tokens.length; first += atOnce) {
      results.push(...(await Promise.all(tokens.slice(first, first + atOnce).map(verifyOne))))
      await setImmediate()
    }
    return results
  }

  async function verifyOne(token: string): Promise<Introspection> {
    const verified = await unlessRefused(() => verify(token))
    return verified === undefined ? inactive : showClaims(verified.payload)
  }
}
