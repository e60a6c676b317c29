import { digestKind } from '../passwords/digest.ts'
import type { IntakeOutcome } from '../users/intake.ts'

/** Something that needs the operator's attention: a refused row, or a user who cannot log in. --report writes it in this form. */
export interface Note {
  readonly row: number
  readonly line: number
  readonly outcome: 'refused' | 'cannot log in'
  readonly id?: string
  readonly username?: string
  readonly reason: string
}

/** Counts the outcomes of an import. */
export interface Tally {
  /** Counts a row; returns a note if it needs attention. */
  add(outcome: IntakeOutcome): Note | undefined
  /** How many rows were counted. */
  rows(): number
  /** A summary for people; the first line has all the counts. */
  lines(): readonly string[]
  /** Why the import failed, in one sentence; undefined if it succeeded. */
  fault(): string | undefined
}

/** Refused rows that are listed individually. */
const maxListed = 10
/** Distinct labels that are counted separately, so that no file can fill the memory. */
const maxLabels = 20

export function makeTally({ model, update, dryRun }: { model: string; update: boolean; dryRun: boolean }): Tally {
  const count = { created: 0, updated: 0, skipped: 0, refused: 0, other: 0 }
  const listedRows: string[] = []
  const models = new Map<string, number>()
  const closed = new Map<string, number>()

  const refuse = ({ row, line, id, username, reason }: IntakeOutcome & { kind: 'refused' }): Note => {
    const who = username === undefined ? (id === undefined ? '' : `, id ${id}`) : `, ${JSON.stringify(username)}`
    if (listedRows.length < maxListed) listedRows.push(`Row ${row}, line ${line}${who}: ${reason}.`)
    return { row, line, outcome: 'refused', ...(id && { id }), ...(username && { username }), reason }
  }
  return {
    add(outcome) {
      count[outcome.kind]++
      if (outcome.kind === 'refused') return refuse(outcome)
      if (outcome.kind === 'other') countIn(models, outcome.model)
      if (outcome.kind !== 'created' && outcome.kind !== 'updated') return undefined
      const reason = loginObstacle(outcome.user.passwordHash)
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
      const more = count.refused - listedRows.length
      return [
        `${counts.join(', ')}.`,
        ...listedRows,
        ...(more > 0 ? [`${number(more)} more were refused; --report FILE lists all of them.`] : []),
        ...(closed.size > 0 ? [`Users who need a new password before they can log in: ${listed(closed)}.`] : []),
        ...(models.size > 0 ? [`Entries of other models were ignored: ${listed(models)}.`] : [])
      ]
    },
    fault() {
      if (count.created + count.updated + count.skipped + count.refused === 0)
        return models.size === 0
          ? 'The file has no users.'
          : `The file has no entries of the model ${model}: choose another with --model.`
      if (count.refused === 0) return undefined
      return 'Some rows were refused. Correct them and import the file again; users already imported are skipped.'
    }
  }
}

/** Why no password matches this digest; undefined if one can. */
function loginObstacle(digest: string): string | undefined {
  const kind = digestKind(digest)
  if (kind === 'unusable') return 'no password'
  return kind === 'unverifiable' ? `${digest.slice(0, digest.indexOf('$'))} is not supported` : undefined
}

function countIn(counts: Map<string, number>, name: string): void {
  // Labels come from the file and are printed on a terminal, so only well-formed ones are.
  const isShown = counts.has(name) || (counts.size < maxLabels && /^[\w. ]{1,100}$/.test(name))
  const key = isShown ? name : 'others'
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

const listed = (counts: ReadonlyMap<string, number>): string =>
  [...counts].map(([name, count]) => `${name} (${number(count)})`).join(', ')

const number = (count: number): string => count.toLocaleString('en')
