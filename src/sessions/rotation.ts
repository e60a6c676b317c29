import { type Generation, newestGeneration, type Session, type SessionPolicy } from './session.ts'

/**
 * The result of presenting a refresh token. A reuse is a verdict and not an exception, because the session must end although
 * the caller is refused.
 * - rotated: its successor is issued
 * - retried: superseded within the grace; the newest token is issued again, exactly the same, and nothing advances
 * - late: as retried, but after the grace: the newest token was never presented, so its response was probably lost
 * - current: rotation is off; the token stays the newest
 * - recovered: newer than the store knows, so the store has lost a write; the chain continues from the token
 * - reused: superseded longer ago than the grace, so it may have been stolen; the session has ended
 * - unknown: there is no such session, or it has ended
 */
export type RotationVerdict =
  | { readonly kind: 'rotated' | 'retried' | 'late' | 'current' | 'recovered'; readonly newest: Generation }
  | { readonly kind: 'reused' | 'unknown' }

/** A verdict, and the next state of the session: undefined once it has ended. */
export interface Decision {
  readonly verdict: RotationVerdict
  readonly session: Session | undefined
}

/**
 * Decides what becomes of a presented refresh token. Pure; never throws. `now` is whole seconds, by the store's clock.
 * lua/rotate.lua is its atomic twin: change both together. Tests run random histories through both.
 * Source: RFC 9700 §4.14.2. The grace is Keyturn's own, for clients that lost a response or refresh from two tabs at once.
 */
export function decide(session: Session | undefined, presented: number, now: number, policy: SessionPolicy): Decision {
  if (session === undefined || now >= session.expiresAt) return { verdict: { kind: 'unknown' }, session: undefined }
  if (presented < session.generation) {
    if (isInGrace(session, presented, now, policy.grace)) return handOut('retried', { ...session, lastUsedAt: now })
    if (isLate(session, presented, now, policy))
      return handOut('late', { ...session, lastUsedAt: now, lateGeneration: session.generation })
    return { verdict: { kind: 'reused' }, session: undefined }
  }
  if (presented > session.generation) return handOut('recovered', moveOn(session, presented, now, policy))
  return handOut(policy.rotate ? 'rotated' : 'current', moveOn(session, presented, now, policy))
}

const handOut = (kind: 'rotated' | 'retried' | 'late' | 'current' | 'recovered', session: Session): Decision => ({
  verdict: { kind, newest: newestGeneration(session) },
  session
})

/**
 * Whether a superseded generation was superseded within the grace. The record has a constant size: it has the times of the last
 * four supersessions (the newest one's predecessor was superseded at rotatedAt), and an anchor for older ones of the current
 * burst. Presenting a superseded token changes none of these, so it does not extend the grace.
 */
function isInGrace(session: Session, presented: number, now: number, grace: number): boolean {
  if (grace === 0) return false
  const known = [session.rotatedAt, ...session.supersededAt][session.generation - 1 - presented]
  if (known !== undefined && now - known <= grace) return true
  return presented >= session.anchorGeneration && now - session.anchorAt <= grace
}

/** Rotations between two late retries. */
const lateSpacing = 8

/**
 * Whether the predecessor of a token that was never presented may be presented after the grace. A thief can use that too, so it
 * is limited: the same token may come again, since the response is the same, but another one within eight rotations is theft. So a
 * thief who follows the owner in this way is caught at the second step.
 */
function isLate(session: Session, presented: number, now: number, { lateRetry, rotate }: SessionPolicy): boolean {
  const { generation, lateGeneration, rotatedAt } = session
  if (!rotate || presented !== generation - 1 || now - rotatedAt > lateRetry || lateRetry === 0) return false
  return lateGeneration === 0 || lateGeneration === generation || generation - lateGeneration >= lateSpacing
}

function moveOn(session: Session, presented: number, now: number, policy: SessionPolicy): Session {
  // The newest token has been presented, although it was not superseded: its predecessor gets no late retry from now on.
  const lateGeneration = presented === 0 ? session.lateGeneration : presented + 1
  if (!policy.rotate) return { ...session, generation: presented, lastUsedAt: now, lateGeneration }
  const burstIsOver = now - session.anchorAt > policy.grace
  const [second, third] = session.supersededAt
  // A late retry is a response like that of a rotation, so the grace of its token begins at that time: the last use so far.
  const predecessorAt = session.lateGeneration === session.generation ? session.lastUsedAt : session.rotatedAt
  // The store has no record of when the generations before were superseded.
  const isKnown = presented === session.generation
  return {
    ...session,
    generation: presented + 1,
    rotatedAt: now,
    lastUsedAt: now,
    expiresAt: Math.min(now + policy.lifetime, session.absoluteExp),
    supersededAt: isKnown ? [predecessorAt, second, third] : [0, 0, 0],
    anchorGeneration: burstIsOver ? presented : session.anchorGeneration,
    anchorAt: burstIsOver ? now : session.anchorAt
  }
}
