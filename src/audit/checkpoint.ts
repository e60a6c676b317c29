import { equalInConstantTime, hmac } from '../random.ts'
import type { Link } from './chain.ts'

/**
 * Proof that the trail had an entry at some time. Kept in another place, it reveals that the end of the trail was cut off
 * later.
 */
export interface Checkpoint extends Link {
  /** Whole seconds since 1970. */
  readonly at: number
  /** An HMAC under the secret of the trail, which an attacker with access to the database alone does not have. */
  readonly signature: string
}

/** The checkpoint of the newest entry. */
export const makeCheckpoint = ({ seq, hash }: Link, at: number, secret: Buffer): Checkpoint => ({
  seq,
  hash,
  at,
  signature: signatureOf({ seq, hash, at }, secret)
})

/** Whether a checkpoint was made with this secret, and not changed since. */
export const isGenuine = (checkpoint: Checkpoint, secret: Buffer): boolean =>
  equalInConstantTime(signatureOf(checkpoint, secret), checkpoint.signature)

// The leading word keeps a checkpoint from passing for an entry, which is signed with the same secret.
const signatureOf = ({ seq, hash, at }: Omit<Checkpoint, 'signature'>, secret: Buffer): string =>
  hmac(secret, JSON.stringify(['checkpoint', seq, hash, at])).toString('base64url')

/** The checkpoint that `keyturn audit checkpoint` printed; undefined if the text is anything else. */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  try {
    const { seq, hash, at, signature } = JSON.parse(text) as Checkpoint
    const isComplete = Number.isSafeInteger(seq) && Number.isSafeInteger(at)
    return isComplete && typeof hash === 'string' && typeof signature === 'string'
      ? { seq, hash, at, signature }
      : undefined
  } catch {
    return undefined
  }
}
