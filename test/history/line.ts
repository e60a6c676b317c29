import type { Generation, Session } from '../../src/sessions/session.ts'
import type { Command, Operation } from './history.ts'

/** A refresh. */
export type Presentation = Operation & { readonly command: Extract<Command, { kind: 'rotate' }> }

/** All that happened to one session, as its clients saw it. Each list is in the order of beginning. */
export interface Line {
  readonly sid: string
  /** As it was when its login was answered. */
  readonly born: Session
  readonly login: Operation
  readonly presentations: readonly Presentation[]
  /** Operations that end it, or may have if they failed: a revocation, or a login beyond the user's limit. */
  readonly endings: readonly Operation[]
}

/** The history by session. A failed login has no session and is omitted. */
export function linesOf(operations: readonly Operation[], maxPerUser: number): Line[] {
  const bySid = group(operations, sidOf)
  const byUser = group(operations, ({ command }) => command.userId)
  return operations.flatMap((login) => {
    if (login.outcome.kind !== 'started') return []
    const { session } = login.outcome
    const own = bySid.get(session.sid) ?? []
    const endings = (byUser.get(session.userId) ?? []).filter((each) => mayEnd(each, login, session.sid, maxPerUser))
    return [{ sid: session.sid, born: session, login, presentations: own.filter(isPresentation), endings }]
  })
}

/** As Map.groupBy, which Node has from 21 on. */
function group<Item>(items: readonly Item[], keyOf: (item: Item) => string): ReadonlyMap<string, readonly Item[]> {
  const groups = new Map<string, Item[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return groups
}

const isPresentation = (operation: Operation): operation is Presentation => operation.command.kind === 'rotate'

const sidOf = ({ command }: Operation): string =>
  command.kind === 'rotate' || command.kind === 'revoke' ? command.sid : ''

function mayEnd(operation: Operation, login: Operation, sid: string, maxPerUser: number): boolean {
  const { command, outcome } = operation
  if (operation.settled.event < login.began.event) return false
  switch (command.kind) {
    case 'revoke':
      return command.sid === sid
    case 'revokeAll':
      return command.kept !== sid
    case 'start':
      if (maxPerUser === 0 || operation === login) return false
      return outcome.kind === 'failed' || isNamed(operation, { sid })
    default:
      return false
  }
}

/** What a refresh was answered with, if a token was. */
export const handedOut = ({ outcome }: Operation): Generation | undefined =>
  outcome.kind === 'verdict' && 'newest' in outcome.verdict ? outcome.verdict.newest : undefined

/** The verdict on a refresh; undefined when there was no answer. */
export const verdictOf = ({ outcome }: Operation) => (outcome.kind === 'verdict' ? outcome.verdict.kind : undefined)

/** Whether the answer says that it ended this session. */
export function isNamed({ outcome }: Operation, { sid }: Pick<Line, 'sid'>): boolean {
  if (outcome.kind === 'ended') return outcome.sids.includes(sid)
  return outcome.kind === 'started' && outcome.ended.includes(sid)
}

/** Whether it was answered: what it ends is over from then on. */
export const isAcknowledgedEnd = ({ outcome, command }: Operation): boolean =>
  outcome.kind === 'ended' || (command.kind === 'start' && outcome.kind === 'started')
