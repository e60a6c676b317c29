import type { Session, SessionPolicy } from '../../src/sessions/session.ts'
import type { Operation } from './history.ts'
import { checkLine, type Violation } from './invariants.ts'
import { checkFeed, checkKeyspace } from './keyspace.ts'
import { type Line, linesOf } from './line.ts'
import { replay, stateKey } from './replay.ts'
import type { World } from './world.ts'

/** Everything that a history and what Redis holds after it can break. */
export async function check(
  world: World,
  operations: readonly Operation[],
  policy: SessionPolicy
): Promise<readonly Violation[]> {
  const lines = linesOf(operations, policy.maxPerUser)
  const found = await findSessions(world, lines)
  return [
    ...lines.flatMap((line) => checkLine(line, policy)),
    ...lines.flatMap((line) => checkReplay(line, policy, found.get(line.sid), world.clock.latest())),
    ...(await checkKeyspace(world, lines, operations, policy.absoluteLifetime)),
    ...(await checkFeed(world, operations))
  ]
}

/** What the store says of its sessions when all is quiet. */
async function findSessions({ workers }: World, lines: readonly Line[]): Promise<ReadonlyMap<string, Session>> {
  const { store } = workers[0]!
  const users = new Set(lines.map(({ born }) => born.userId))
  const lists = await Promise.all([...users].map((userId) => store.list(userId)))
  return new Map(lists.flat().map((session) => [session.sid, session]))
}

function checkReplay(line: Line, policy: SessionPolicy, found: Session | undefined, now: number): Violation[] {
  const { states, unexplained } = replay(line, policy)
  if (unexplained !== undefined) {
    const before = unexplained.before.map(describeState).join(', or ')
    const what = `no order of the operations explains the answer to #${unexplained.operation.id}; before: ${before}`
    return [{ invariant: 'replay', what, line }]
  }
  const isOver = (state: Session | string): boolean => typeof state === 'string' || now >= state.expiresAt
  const fits = states.some((state) => (found === undefined ? isOver(state) : stateKey(state) === stateKey(found)))
  if (fits) return []
  const what = `the store holds ${describeState(found ?? 'over')} and should hold ${states.map(describeState).join(', or ')}`
  return [{ invariant: 'replay', what, line }]
}

const describeState = (state: Session | string): string =>
  typeof state === 'string' ? state : `generation ${state.generation} of ${state.rotatedAt} (${stateKey(state)})`
