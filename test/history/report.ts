import type { SessionPolicy } from '../../src/sessions/session.ts'
import type { Operation } from './history.ts'
import { supersessions, type Violation } from './invariants.ts'
import { type Line, linesOf, verdictOf } from './line.ts'

/** How often each thing happened: verdicts, other answers, errors by their words. */
export function countOutcomes(operations: readonly Operation[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const { outcome, command } of operations) {
    const word = {
      started: () => 'logins',
      ended: () => `${command.kind} answered`,
      verdict: () => (outcome.kind === 'verdict' ? outcome.verdict.kind : ''),
      failed: () => 'errors'
    }[outcome.kind]()
    counts[word] = (counts[word] ?? 0) + 1
    if (outcome.kind === 'failed') counts[`error: ${outcome.reason}`] = (counts[`error: ${outcome.reason}`] ?? 0) + 1
  }
  return counts
}

/** How well the times are known, and how often the grace's one known blur took a straggler for a thief (invariants.ts). */
export function countTimes(
  operations: readonly Operation[],
  { grace, maxPerUser }: SessionPolicy
): Readonly<Record<string, number>> {
  const blurred = linesOf(operations, maxPerUser).flatMap((line) => {
    const supersededAt = supersessions(line)
    const age = (each: Line['presentations'][number]) =>
      each.answered.clock - (supersededAt.get(each.command.generation) ?? -Infinity)
    return line.presentations.filter((each) => verdictOf(each) === 'reused' && age(each) <= grace)
  })
  return {
    'seconds by the stepped clock': (operations.at(-1)?.settled.clock ?? 0) - (operations[0]?.began.clock ?? 0),
    'at a second known exactly': operations.filter((each) => each.began.clock === each.settled.clock).length,
    'reused, though superseded within the grace': blurred.length
  }
}

/** A violation with the history of its session, one line an operation, times in seconds since the login. */
export function describe({ invariant, what, line }: Violation): string {
  const head = invariant === 'replay' ? `replay: ${what}` : `invariant ${invariant}: ${what}`
  return line === undefined ? head : [head, `  session ${line.sid}`, ...history(line)].join('\n')
}

function history({ login, presentations, endings, born }: Line): string[] {
  return [login, ...presentations, ...endings]
    .sort((a, b) => a.began.event - b.began.event)
    .map((each) => `  ${describeOperation(each, born.createdAt)}`)
}

function describeOperation(operation: Operation, zero: number): string {
  const { id, client, worker, command, outcome, began, answered, settled } = operation
  const generation = command.kind === 'rotate' ? ` ${command.generation}` : ''
  const late = settled === answered ? '' : `, settled @${settled.event} +${settled.clock - zero}s`
  const span = `@${began.event}..${answered.event} +${began.clock - zero}..${answered.clock - zero}s${late}`
  return `#${id} ${span} ${client} (worker ${worker}) ${command.kind}${generation}: ${answer(outcome, zero)}`
}

function answer(outcome: Operation['outcome'], zero: number): string {
  switch (outcome.kind) {
    case 'failed':
      return `failed: ${outcome.reason}`
    case 'started':
      return `started, ended ${outcome.ended.length}`
    case 'ended':
      return `ended ${outcome.sids.join(' ') || 'nothing'}`
    case 'verdict': {
      const { verdict } = outcome
      if (!('newest' in verdict)) return verdict.kind
      const { number, issuedAt, expiresAt } = verdict.newest
      return `${verdict.kind}, newest ${number} of +${issuedAt - zero}s until +${expiresAt - zero}s`
    }
  }
}
