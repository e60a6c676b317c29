import { digestKind } from '../passwords/digest.ts'
import type { IntakeOutcome } from '../users/intake.ts'

/** What the operator should see to: a row that is not in, or a user who cannot log in. As --report writes it. */
export interface Note {
  readonly row: number
  readonly line: number
  readonly outcome: 'refused' | 'cannot log in'
  readonly id?: string
  readonly username?: string
  readonly reason: string
}

/** What came of a whole dump, counted. */
export interface Tally {
  /** Counts one row in, and gives what there is to note about it. */
  add(outcome: IntakeOutcome): Note | undefined
  /** How many rows were counted in. */
  rows(): number
  /** Lines for people, the first one with all the counts. */
  lines(): readonly string[]
  /** Why the import was no success, as one sentence; undefined when it was. */
  fault(): string | undefined
}

/** Refused rows that are told one by one. */
const toldAtMost = 10
/** What is counted each on its own: a strange file must not fill the memory. */
const namesAtMost = 20

export function makeTally({ model, update, dryRun }: { model: string; update: boolean; dryRun: boolean }): Tally {
  const count = { created: 0, updated: 0, skipped: 0, refused: 0, other: 0 }
  const told: string[] = []
  const models = new Map<string, number>()
  const closed = new Map<string, number>()

  const refuse = ({ row, line, id, username, reason }: IntakeOutcome & { kind: 'refused' }): Note => {
    const who = username === undefined ? (id === undefined ? '' : `, id ${id}`) : `, ${JSON.stringify(username)}`
    if (told.length < toldAtMost) told.push(`Row ${row}, line ${line}${who}: ${reason}.`)
    return { row, line, outcome: 'refused', ...(id && { id }), ...(username && { username }), reason }
  }
  return {
    add(outcome) {
      count[outcome.kind]++
      if (outcome.kind === 'refused') return refuse(outcome)
      if (outcome.kind === 'other') countIn(models, outcome.model)
      if (outcome.kind !== 'created' && outcome.kind !== 'updated') return undefined
      const reason = whyClosed(outcome.user.passwordHash)
      if (reason === undefined) return undefined
      countIn(closed, reason)
      const { id, username } = outcome.user
      return { row: outcome.row, line: outcome.line, outcome: 'cannot log in', id, username, reason }
    },
    rows: () => Object.values(count).reduce((sum, each) => sum + each),
    lines() {
      const counts = [
        `${number(count.created)} ${dryRun ? 'would be created' : 'created'}`,
        ...(update ? [`${number(count.updated)} ${dryRun ? 'would be updated' : 'updated'}`] : []),
        `${number(count.skipped)} skipped`,
        `${number(count.refused)} refused`
      ]
      const more = count.refused - told.length
      return [
        `${counts.join(', ')}.`,
        ...told,
        ...(more > 0 ? [`${number(more)} more were refused: --report FILE writes them all.`] : []),
        ...(closed.size > 0 ? [`Some cannot log in before they have a new password: ${listed(closed)}.`] : []),
        ...(models.size > 0 ? [`Entries of other models were passed over: ${listed(models)}.`] : [])
      ]
    },
    fault() {
      if (count.created + count.updated + count.skipped + count.refused === 0)
        return models.size === 0 ? 'It has no users.' : `It has no entry of the model ${model}: --model names another.`
      if (count.refused === 0) return undefined
      return 'Not every row is in. Put those right and import the file again: who is in is skipped.'
    }
  }
}

/** Why nobody can log in with this digest; undefined when somebody can. */
function whyClosed(digest: string): string | undefined {
  const kind = digestKind(digest)
  if (kind === 'unusable') return 'no password'
  return kind === 'unverifiable' ? `${digest.slice(0, digest.indexOf('$'))} is not verified here` : undefined
}

function countIn(counts: Map<string, number>, name: string): void {
  // Labels of a dump are shown on a terminal: only those that look like one.
  const isShown = counts.has(name) || (counts.size < namesAtMost && /^[\w. ]{1,100}$/.test(name))
  const key = isShown ? name : 'others'
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

const listed = (counts: ReadonlyMap<string, number>): string =>
  [...counts].map(([name, count]) => `${name} (${number(count)})`).join(', ')

const number = (count: number): string => count.toLocaleString('en')
