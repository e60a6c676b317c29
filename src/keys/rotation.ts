import type { StoredKey } from './store.ts'

/** How managed keys are rotated. Durations are whole seconds. */
export interface RotationPolicy {
  /** How long a key signs: KEY_ROTATION_INTERVAL. */
  readonly interval: number
  /** How long a key is published before it signs, so that no verifier with a cached JWKS receives an unknown kid. */
  readonly publishAhead: number
  /** How long a key verifies after it last signed. */
  readonly keepRetired: number
}

export type RotationStep =
  | { readonly kind: 'publish' }
  | { readonly kind: 'activate'; readonly kid: string }
  | { readonly kind: 'drop'; readonly kid: string }

/**
 * The steps that are due for the access keys at `now`. Pure. A next key signs once it has been published for long enough, whether
 * the schedule or an operator published it; so a manual rotation is just an early publication.
 */
export function planRotation(keys: readonly StoredKey[], now: number, policy: RotationPolicy): readonly RotationStep[] {
  const access = keys.filter((key) => key.purpose === 'access')
  const next = access.find((key) => key.state === 'next')
  const active = access.find((key) => key.state === 'active')
  const steps: RotationStep[] = []
  if (next !== undefined && now >= next.createdAt + policy.publishAhead) steps.push({ kind: 'activate', kid: next.kid })
  if (next === undefined && isDue(active, now, policy)) steps.push({ kind: 'publish' })
  for (const { kid, state, retiredAt = 0 } of access) {
    if (state === 'retired' && now >= retiredAt + policy.keepRetired) steps.push({ kind: 'drop', kid })
  }
  return steps
}

/** Whether the next key must be published now, so that all verifiers have it when the interval of the active key ends. */
const isDue = (active: StoredKey | undefined, now: number, { interval, publishAhead }: RotationPolicy): boolean =>
  active?.activatedAt !== undefined && now >= active.activatedAt + interval - publishAhead
