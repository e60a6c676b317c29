import { decodeRecord } from '../../src/stores/redis/record.ts'
import type { Operation } from './history.ts'
import type { Violation } from './invariants.ts'
import type { Line } from './line.ts'
import type { World } from './world.ts'

/** A session's record and its client: Redis keeps a small hash packed while each value has at most this many bytes. */
const longestValue = 64

/**
 * Invariant 4, read off everything that Redis holds at the end: one key a user, beside the feed and its epoch, and two fields a
 * session; for a user whose sessions were to end all at once, the time, and a second key if that failed. Each key of sessions has an
 * expiry, no earlier than its last session's and no later than any session's absolute end.
 */
export async function checkKeyspace(
  world: World,
  lines: readonly Line[],
  operations: readonly Operation[],
  absoluteLifetime: number
): Promise<Violation[]> {
  const { control, names, clockKey, clock } = world
  const ends = operations.filter(({ command }) => command.kind === 'revokeAll')
  const failedEnds = ends.filter(({ outcome }) => outcome.kind === 'failed')
  const endTimes = new Set(ends.map(({ command }) => names.ended(command.userId)))
  const userKeys = new Set([
    ...operations.map(({ command }) => names.sessions(command.userId)),
    ...failedEnds.map(({ command }) => names.ending(command.userId))
  ])
  const known = new Set(lines.map(({ sid }) => sid))
  const broken: string[] = []
  let strangers = 0
  for (const key of await control.keys(clockKey.replace(/clock$/, '*'))) {
    if (key === names.feed || key === names.epoch || key === clockKey || endTimes.has(key)) continue
    if (!userKeys.has(key)) {
      broken.push(`an unknown key: ${key}`)
      continue
    }
    const expiry = Number(await control.call('EXPIRETIME', key))
    if (expiry < 0) broken.push(`no expiry: ${key}`)
    if (expiry > clock.latest() + absoluteLifetime) broken.push(`expires later than any session: ${key}`)
    const fields = pairs((await control.callBuffer('HGETALL', key)) as Buffer[])
    broken.push(...fields.flatMap((field) => faultsOf(field, expiry)))
    strangers += fields.filter(([name]) => name.length === 16 && !known.has(name.toString('hex'))).length
  }
  const failedLogins = operations.filter((each) => each.command.kind === 'start' && each.outcome.kind === 'failed')
  if (strangers > failedLogins.length) broken.push(`${strangers} sessions of ${failedLogins.length} logins that failed`)
  return broken.map((what) => ({ invariant: 4, what }))
}

type Field = readonly [name: Buffer, value: Buffer]

const pairs = (flat: readonly Buffer[]): Field[] =>
  Array.from({ length: flat.length / 2 }, (_, index) => [flat[2 * index]!, flat[2 * index + 1]!])

/** What is wrong with a field of a user's key that expires then. */
function faultsOf([name, value]: Field, expiry: number): string[] {
  const sid = name.toString('hex', 0, 16)
  const isRecord = name.length === 16
  const isClient = name.length === 17 && name.toString('latin1', 16) === 'c'
  if (!isRecord && !isClient) return [`a field of no session: ${name.toString('hex')}`]
  if (value.length > longestValue) return [`a value of ${value.length} bytes for ${sid}`]
  const session = isRecord ? decodeRecord('', sid, value, null) : undefined
  const isCutShort = session !== undefined && expiry >= 0 && expiry < session.expiresAt
  return isCutShort ? [`the key expires before ${sid}`] : []
}

/** Invariant 3: what was answered to have ended is in the feed, from which every worker learns of it. */
export async function checkFeed({ control, names }: World, operations: readonly Operation[]): Promise<Violation[]> {
  const entries = (await control.callBuffer('XRANGE', names.feed, '-', '+')) as [Buffer, Buffer[]][]
  const announced = new Set(entries.map(([, fields]) => fields[1]?.toString('hex')))
  return operations
    .flatMap(endedBy)
    .filter((sid) => !announced.has(sid))
    .map((sid) => ({ invariant: 3, what: `the feed does not know that ${sid} has ended` }))
}

function endedBy({ command, outcome }: Operation): readonly string[] {
  if (outcome.kind === 'ended') return outcome.sids
  if (outcome.kind === 'started') return outcome.ended
  return outcome.kind === 'verdict' && outcome.verdict.kind === 'reused' && 'sid' in command ? [command.sid] : []
}
