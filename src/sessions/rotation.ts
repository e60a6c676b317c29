import { type Generation, newestGeneration, type Session, type SessionPolicy } from './session.ts'

/**
 * What became of a presented refresh token. A reuse is a verdict and no exception, since the end of the session that it
 * brings must be kept although the caller is refused.
 * - rotated: its successor is handed out
 * - retried: superseded within the grace; the newest one is handed out again, the very same, and nothing advances
 * - late: the same after the grace, since the newest one has never been presented: an answer that was lost for long
 * - current: rotation is off; the token stays the newest
 * - recovered: newer than the store knows, so the store lost a write; the line moves on from the token
 * - reused: superseded longer ago than the grace: theft; the session has ended
 * - unknown: there is no such session (any more)
 */
export type RotationVerdict =
  | { readonly kind: 'rotated' | 'retried' | 'late' | 'current' | 'recovered'; readonly newest: Generation }
  | { readonly kind: 'reused' | 'unknown' }

export type VerdictKind = RotationVerdict['kind']

/** A verdict, and the session as it is from now on: undefined when it is over. */
export interface Decision {
  readonly verdict: RotationVerdict
  readonly session: Session | undefined
}

/**
 * Decides what a presented refresh token may become. Pure: `now` is whole seconds by the store's clock. Never throws.
 * lua/rotate.lua is its atomic twin: what changes here changes there, and random histories run through both must agree.
 * Source: RFC 9700 §4.14.2; the grace is Keyturn's, for clients that lost an answer or refresh from two tabs at once.
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
 * Whether a superseded generation was superseded within the grace. Kept in constant space: the last four supersessions are
 * known exactly (rotatedAt is that of the newest one's predecessor), older ones of the current burst through its anchor.
 * None of these moves when a token is presented again, so that presenting it again and again extends nothing.
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
 * is rationed: the same one again brings nothing new, but another within eight rotations is theft. So a thief who follows the
 * owner in this way is caught at the second step.
 */
function isLate(session: Session, presented: number, now: number, { lateRetry, rotate }: SessionPolicy): boolean {
  const { generation, lateGeneration, rotatedAt } = session
  if (!rotate || presented !== generation - 1 || now - rotatedAt > lateRetry || lateRetry === 0) return false
  return lateGeneration === 0 || lateGeneration === generation || generation - lateGeneration >= lateSpacing
}

function moveOn(session: Session, presented: number, now: number, policy: SessionPolicy): Session {
  // The newest one has been presented, though it was not superseded: its predecessor gets no late retry from now on.
  const lateGeneration = presented === 0 ? session.lateGeneration : presented + 1
  if (!policy.rotate) return { ...session, generation: presented, lastUsedAt: now, lateGeneration }
  const burstIsOver = now - session.anchorAt > policy.grace
  const [second, third] = session.supersededAt
  // A late retry is an answer like that of a rotation, so the grace of its token begins with it: the last use until now.
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
