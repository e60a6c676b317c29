import { decide } from '../../src/sessions/rotation.ts'
import type { Session, SessionPolicy } from '../../src/sessions/session.ts'
import type { Operation } from './history.ts'
import { handedOut, isNamed, type Line } from './line.ts'

/*
 * Searches for an order of a session's operations in which decide() gives every answer that was given: each operation takes
 * effect at once, at some moment between its beginning and its settling, at some second that the clock may have shown then.
 * One that was answered takes effect once, with that answer. One that failed may take effect, or not.
 * All orders are followed at once, from one beginning or ending to the next, as a set of places the session may be at. It is
 * the search of Lowe, "Testing for linearizability" (2017): where the set is empty, no order explains the answers.
 */

/** The session somewhere in an order: not yet begun, alive, or over. */
type State = 'unborn' | Session | 'over'

interface Place {
  readonly state: State
  /** The second at which it came here. */
  readonly clock: number
  /** Operations that have taken effect with their answer, and have not ended yet. */
  readonly done: ReadonlySet<Operation>
}

export interface Replayed {
  /** What the session may be at the end. */
  readonly states: readonly State[]
  /** The operation whose answer nothing explains, and what the session may have been before. */
  readonly unexplained?: { readonly operation: Operation; readonly before: readonly State[] }
}

/** More places than this at once is a history too uncertain to say anything about. */
const mostPlaces = 20_000

export function replay(line: Line, policy: SessionPolicy): Replayed {
  const open = new Set<Operation>()
  let places: readonly Place[] = [{ state: 'unborn', clock: 0, done: new Set() }]
  for (const { operation, isEnd } of eventsOf(line)) {
    if (!isEnd) {
      open.add(operation)
      continue
    }
    const before = places
    places = explore(places, open, line, policy)
    open.delete(operation)
    if (operation.outcome.kind !== 'failed') places = places.filter(({ done }) => done.has(operation))
    if (places.length === 0) return { states: [], unexplained: { operation, before: statesOf(before) } }
    places = unique(places.map((place) => ({ ...place, done: without(place.done, operation) })))
  }
  return { states: statesOf(places) }
}

function eventsOf({ login, presentations, endings }: Line): { operation: Operation; isEnd: boolean }[] {
  return [login, ...presentations, ...endings]
    .flatMap((operation) => [
      { operation, isEnd: false, event: operation.began.event },
      { operation, isEnd: true, event: operation.settled.event }
    ])
    .sort((a, b) => a.event - b.event)
}

/** All places that can be reached by letting open operations take effect. */
function explore(places: readonly Place[], open: ReadonlySet<Operation>, line: Line, policy: SessionPolicy): Place[] {
  const reached = new Map<string, Place>()
  const todo = [...places]
  for (let place = todo.pop(); place !== undefined; place = todo.pop()) {
    const key = keyOf(place)
    if (reached.has(key)) continue
    reached.set(key, place)
    if (reached.size > mostPlaces) throw new Error(`session ${line.sid}: the history is too uncertain to be checked`)
    todo.push(...nextPlaces(place, open, line, policy))
  }
  return [...reached.values()]
}

function nextPlaces(place: Place, open: ReadonlySet<Operation>, line: Line, policy: SessionPolicy): Place[] {
  const next: Place[] = []
  const unheard = new Map<string, Attempt>()
  for (const operation of open) {
    if (place.done.has(operation)) continue
    if (operation.outcome.kind === 'failed') {
      join(unheard, attemptOf(operation, false))
      continue
    }
    const answered = effects(place, attemptOf(operation, true), line, policy)
    const done = new Set([...place.done, operation])
    // What changes nothing, not even the second, may as well happen now: no other order has to be tried.
    const free = answered.find(({ state, clock }) => state === place.state && clock === place.clock)
    if (free !== undefined) return [{ ...free, done }]
    next.push(...answered.map((each) => ({ ...each, done })))
  }
  for (const attempt of unheard.values()) {
    const changed = effects(place, attempt, line, policy).filter(({ state }) => state !== place.state)
    next.push(...changed.map((each) => ({ ...each, done: place.done })))
  }
  return next
}

/** An operation that may take effect, and when. */
interface Attempt {
  readonly operation: Operation
  /** With the answer that it had; otherwise with any. */
  readonly isHeard: boolean
  readonly from: number
  readonly to: number
}

const attemptOf = (operation: Operation, isHeard: boolean): Attempt => ({
  operation,
  isHeard,
  from: operation.began.clock,
  to: operation.settled.clock
})

/** Unheard, the same command of ten tabs is one: all are open now, so their seconds overlap. */
function join(attempts: Map<string, Attempt>, attempt: Attempt): void {
  const key = JSON.stringify(attempt.operation.command)
  const { from, to } = attempts.get(key) ?? attempt
  attempts.set(key, { ...attempt, from: Math.min(from, attempt.from), to: Math.max(to, attempt.to) })
}

type Effect = Pick<Place, 'state' | 'clock'>

/** What the operation may make of the session, at each second that is possible. */
function effects(place: Place, attempt: Attempt, line: Line, policy: SessionPolicy): Effect[] {
  const found = new Map<string, Effect>()
  for (let clock = Math.max(place.clock, attempt.from); clock <= attempt.to; clock++) {
    const state = effectAt(place.state, clock, attempt, line, policy)
    if (state === undefined) continue
    // The earliest second leaves the most open; what is over stays so.
    const key = stateKey(state)
    if (!found.has(key)) found.set(key, { state, clock: state === 'over' ? place.clock : clock })
    if (attempt.isHeard && state === place.state) break
  }
  return [...found.values()]
}

function effectAt(
  state: State,
  clock: number,
  { operation, isHeard }: Attempt,
  line: Line,
  policy: SessionPolicy
): State | undefined {
  const { command, outcome } = operation
  if (operation === line.login) return state === 'unborn' && clock === line.born.createdAt ? line.born : undefined
  if (command.kind === 'rotate') {
    if (state === 'unborn') return undefined
    const { verdict, session } = decide(state === 'over' ? undefined : state, command.generation, clock, policy)
    if (isHeard && !isSameVerdict(operation, verdict.kind, 'newest' in verdict ? verdict.newest.number : -1, session))
      return undefined
    return afterwards(state, session)
  }
  if (state === 'unborn') return isHeard && !isNamed(operation, line) ? state : undefined
  const isOver = state === 'over' || clock >= state.expiresAt
  if (isHeard && outcome.kind === 'ended' && !isNamed(operation, line)) return isOver ? state : undefined
  return 'over'
}

/** The very state when nothing but the time of its last use has changed. */
function afterwards(before: State, session: Session | undefined): State {
  if (session === undefined) return 'over'
  return typeof before === 'object' && stateKey(before) === stateKey(session) ? before : session
}

function isSameVerdict(operation: Operation, kind: string, newest: number, session: Session | undefined): boolean {
  const { outcome } = operation
  if (outcome.kind !== 'verdict' || outcome.verdict.kind !== kind) return false
  const token = handedOut(operation)
  if (token === undefined) return true
  return token.number === newest && token.issuedAt === session?.rotatedAt && token.expiresAt === session.expiresAt
}

/* Places as values */

export function stateKey(state: State): string {
  if (typeof state === 'string') return state
  return [
    state.generation,
    state.rotatedAt,
    state.createdAt,
    state.absoluteExp,
    state.expiresAt,
    state.supersededAt,
    state.anchorGeneration,
    state.anchorAt,
    state.lateGeneration,
    // The grace of a late retry counts from its last one.
    state.lateGeneration === state.generation ? state.lastUsedAt : 0
  ].join()
}

const keyOf = ({ state, clock, done }: Place): string =>
  [
    stateKey(state),
    clock,
    [...done]
      .map(({ id }) => id)
      .sort((a, b) => a - b)
      .join(' ')
  ].join(';')

const unique = (places: readonly Place[]): Place[] => [...new Map(places.map((each) => [keyOf(each), each])).values()]

const statesOf = (places: readonly Place[]): State[] => [
  ...new Map(places.map(({ state }) => [stateKey(state), state])).values()
]

function without(done: ReadonlySet<Operation>, operation: Operation): ReadonlySet<Operation> {
  const rest = new Set(done)
  rest.delete(operation)
  return rest
}
