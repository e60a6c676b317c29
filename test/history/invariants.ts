import type { SessionPolicy } from '../../src/sessions/session.ts'
import type { Operation } from './history.ts'
import { handedOut, isAcknowledgedEnd, isNamed, type Line, type Presentation, verdictOf } from './line.ts'

/*
 * Invariants 1, 2, 3 and 5 of the sessions, read off a history without the rules of rotation, and so without their faults.
 * Where an error or the second at which something ran leaves a doubt, it counts for the store. replay.ts leaves no doubt.
 */

export interface Violation {
  /** The number of a heading below; 4 is in keyspace.ts. 'replay' if the answers are merely not those of decide(). */
  readonly invariant: 1 | 2 | 3 | 4 | 5 | 'replay'
  readonly what: string
  /** The session, where it is about one. */
  readonly line?: Line
}

type Check = (line: Line, policy: SessionPolicy) => readonly Violation[]

/** The facts in the history of one session. */
export const checkLine: Check = (line, policy) => [
  ...oneSuccessor(line, policy),
  ...neverLoggedOut(line, policy),
  ...ancestorEndsIt(line, policy),
  ...revokedForGood(line, policy),
  ...absoluteEnd(line, policy)
]

/* 1. Never more than one live successor */

const oneSuccessor: Check = (line) => {
  const violations: Violation[] = []
  const broken = (what: string) => violations.push({ invariant: 1, what, line })
  const tokens = new Map<number, string>()
  const rotated = new Set<number>()
  for (const each of line.presentations) {
    const token = handedOut(each)
    if (token === undefined) continue
    const { generation } = each.command
    const text = JSON.stringify(token)
    if ((tokens.get(token.number) ?? text) !== text) broken(`two different tokens of generation ${token.number}`)
    tokens.set(token.number, text)
    if (verdictOf(each) === 'rotated' && rotated.has(generation)) broken(`generation ${generation} was rotated twice`)
    if (verdictOf(each) === 'rotated') rotated.add(generation)
    if (verdictOf(each) === 'recovered') broken(`the store has forgotten that it handed out generation ${generation}`)
    if (!wasPresented(line, token.number - 1, each))
      broken(`generation ${token.number} was issued although no client had presented ${token.number - 1}`)
  }
  for (const [earlier, later] of inSuccession(line.presentations)) {
    const [before, after] = [handedOut(earlier)?.number ?? -1, handedOut(later)?.number ?? Infinity]
    if (after < before) broken(`generation ${after} was handed out as the newest, after ${before}`)
  }
  return violations
}

const wasPresented = (line: Line, generation: number, by: Operation): boolean =>
  line.presentations.some((each) => each.command.generation === generation && each.began.event < by.answered.event)

/** For each refresh, the one among those answered before it began that handed out most. */
function* inSuccession(presentations: readonly Presentation[]): Generator<readonly [Presentation, Presentation]> {
  const byAnswer = presentations.toSorted((a, b) => a.answered.event - b.answered.event)
  let next = 0
  let most: Presentation | undefined
  for (const later of presentations) {
    for (; byAnswer[next] !== undefined && byAnswer[next]!.answered.event < later.began.event; next++) {
      const token = handedOut(byAnswer[next]!)
      if (token !== undefined && token.number > (most === undefined ? -1 : handedOut(most)!.number))
        most = byAnswer[next]
    }
    if (most !== undefined) yield [most, later]
  }
}

/* 1. A client that only retries within the grace is never logged out */

const neverLoggedOut: Check = (line, { grace }) => {
  const supersededAt = supersessions(line)
  const isInGrace = (each: Presentation) => wasSurelyInGrace(line, supersededAt, each, grace)
  return line.presentations.flatMap((each): Violation[] => {
    const { generation } = each.command
    if (verdictOf(each) === 'reused' && isInGrace(each)) {
      return [{ invariant: 1, what: `generation ${generation} was taken for a theft within the grace`, line }]
    }
    if (verdictOf(each) !== 'unknown' || mayBeExpired(line, each) || mayBeEnded(line, each)) return []
    if (line.presentations.some((other) => isBefore(other, each) && mayBeTheft(other, isInGrace))) return []
    return [{ invariant: 1, what: `generation ${generation} was refused, though nothing had ended the session`, line }]
  })
}

/** A reuse is one. An operation that failed may have been one, unheard. */
const mayBeTheft = (each: Presentation, isInGrace: (each: Presentation) => boolean): boolean =>
  verdictOf(each) === 'reused' || (each.outcome.kind === 'failed' && !isInGrace(each))

/** Whether `other` may have taken effect by the time `each` was answered. */
const isBefore = (other: Operation, each: Operation): boolean => other.began.event < each.answered.event

const mayBeEnded = (line: Line, each: Operation): boolean =>
  line.endings.some((ending) => isBefore(ending, each) && mayHaveEnded(ending, line))

const mayHaveEnded = (ending: Operation, line: Line): boolean =>
  ending.outcome.kind === 'failed' || isNamed(ending, line)

/** It lives at least as long as the newest token that was known when the refresh began. */
function mayBeExpired(line: Line, each: Operation): boolean {
  const known = line.presentations.filter(({ answered }) => answered.event < each.began.event)
  const expiries = known.map((other) => handedOut(other)?.expiresAt ?? 0)
  return each.answered.clock >= Math.max(line.born.expiresAt, ...expiries)
}

/** Generation to the second at which it was superseded, as the token that took its place says. */
export function supersessions(line: Line): ReadonlyMap<number, number> {
  const tokens = line.presentations.map(handedOut).filter((token) => token !== undefined)
  return new Map(tokens.map(({ number, issuedAt }) => [number - 1, issuedAt]))
}

/**
 * Whether a presented generation was surely within the grace, as long as its client waited. Sure is
 * - the newest, or one of the four before it, if it was superseded no longer ago than the grace
 * - any of a burst that began after more than a grace of calm, no longer ago than the grace
 * Not sure is one that more than four others have followed, in a burst that began less than a grace after another: the store
 * then counts from the beginning of the first, and may call it a reuse although it was superseded within the grace.
 */
function wasSurelyInGrace(
  line: Line,
  supersededAt: ReadonlyMap<number, number>,
  each: Presentation,
  grace: number
): boolean {
  if (grace === 0) return false
  const { generation } = each.command
  const isRecent = (second: number | undefined) => second !== undefined && each.answered.clock - second <= grace
  const isPassedOver = line.presentations.some(
    (other) => other.command.generation > generation + 3 && other.began.event < each.settled.event
  )
  if (!isPassedOver && isRecent(supersededAt.get(generation) ?? earliestPresentation(line, generation))) return true
  for (let first = generation; first >= 0; first--) {
    const [begun, before] = [supersededAt.get(first), first === 0 ? -Infinity : supersededAt.get(first - 1)]
    if (!isRecent(begun)) return false
    if (before !== undefined && begun! - before > grace) return true
  }
  return false
}

const earliestPresentation = (line: Line, generation: number): number =>
  Math.min(...line.presentations.filter(({ command }) => command.generation === generation).map((e) => e.began.clock))

/* 2. An ancestor presented after the grace always ends the session */

const ancestorEndsIt: Check = (line, policy) => {
  const { grace } = policy
  const supersededAt = supersessions(line)
  const violations: Violation[] = []
  let ended: Presentation | undefined
  for (const each of line.presentations) {
    const { generation } = each.command
    const since = supersededAt.get(generation)
    const isTheft = since !== undefined && each.began.clock - since > grace && !mayFollowLateRetry(line, each, grace)
    if (isTheft && handedOut(each) !== undefined && !isLateRetry(line, each, since, policy)) {
      const what = `generation ${generation} let someone in, superseded more than the grace before`
      violations.push({ invariant: 2, what, line })
    }
    if (ended !== undefined && ended.answered.event < each.began.event && isAlive(each)) {
      const what = `the session was alive after generation ${ended.command.generation} had been presented too late`
      violations.push({ invariant: 2, what, line })
    }
    const isAnswered = verdictOf(each) !== undefined
    const endsIt = verdictOf(each) === 'reused' || (isTheft && isAnswered && verdictOf(each) !== 'late')
    if (endsIt && (ended === undefined || each.answered.event < ended.answered.event)) ended = each
  }
  return violations
}

/** Whether a late retry of the same token may have begun its grace again. One that failed may have been one. */
const mayFollowLateRetry = (line: Line, each: Presentation, grace: number): boolean =>
  line.presentations.some(
    (other) =>
      other !== each &&
      other.command.generation === each.command.generation &&
      (verdictOf(other) === 'late' || other.outcome.kind === 'failed') &&
      isBefore(other, each) &&
      each.began.clock - other.settled.clock <= grace
  )

/** Rotations between two late retries. */
const lateSpacing = 8

/**
 * Whether an answer after the grace may be a late retry: of the direct predecessor of a token that had surely not been presented,
 * soon enough, and the first one within eight rotations.
 */
function isLateRetry(line: Line, each: Presentation, since: number, { lateRetry }: SessionPolicy): boolean {
  const newest = each.command.generation + 1
  if (verdictOf(each) !== 'late' || handedOut(each)?.number !== newest || each.began.clock - since > lateRetry)
    return false
  const before = line.presentations.filter(({ answered }) => answered.event < each.began.event)
  const isRationed = before.some((other) => {
    const distance = newest - (handedOut(other)?.number ?? newest)
    return verdictOf(other) === 'late' && distance > 0 && distance < lateSpacing
  })
  return !isRationed && !before.some((other) => other.command.generation === newest && verdictOf(other) !== undefined)
}

/** Whether the answer shows a session that was not over: a reuse, too, is found in one only. */
const isAlive = (each: Operation): boolean => handedOut(each) !== undefined || verdictOf(each) === 'reused'

/* 3. After a revocation that was answered no refresh token works */

const revokedForGood: Check = (line) => {
  const acknowledged = line.endings.filter((each) => isAcknowledgedEnd(each) && concerns(each, line))
  const first = Math.min(...acknowledged.map(({ answered }) => answered.event))
  return line.presentations
    .filter((each) => each.began.event > first && handedOut(each) !== undefined)
    .map(({ command }) => ({ invariant: 3, what: `generation ${command.generation} worked after a revocation`, line }))
}

/** One that ran beside the login may have come before it, unless it says otherwise. */
const concerns = (ending: Operation, line: Line): boolean =>
  ending.began.event > line.login.answered.event || isNamed(ending, line)

/* 5. The absolute end is never moved */

const absoluteEnd: Check = (line, { absoluteLifetime }) => {
  const end = line.born.createdAt + absoluteLifetime
  return line.presentations.flatMap((each): Violation[] => {
    const token = handedOut(each)
    if (token === undefined) return []
    if (token.expiresAt > end) return [{ invariant: 5, what: 'a token outlives its session', line }]
    if (each.began.clock >= end) return [{ invariant: 5, what: 'a refresh worked after the absolute end', line }]
    return []
  })
}
