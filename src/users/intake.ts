import type { Row } from './dump/row.ts'
import { type GivenUser, type ImportOptions, readUser } from './import.ts'
import type { Placing } from './placing.ts'
import { importBatch, type UserImport } from './store.ts'

/** The result of a row; `row` and `line` count from one. */
export type IntakeOutcome = { readonly row: number; readonly line: number } & (
  | Exclude<Placing, { readonly kind: 'refused' }>
  | { readonly kind: 'refused'; readonly reason: string; readonly id?: string; readonly username?: string }
  | { readonly kind: 'other'; readonly model: string }
)

interface Waiting {
  readonly row: number
  readonly line: number
  readonly user: GivenUser
}

export interface IntakeOptions extends ImportOptions {
  readonly update: boolean
  /** Completes a batch, after its outcomes were yielded. */
  readonly complete: () => Promise<unknown>
}

/**
 * Imports the users of a dump and yields the outcome of each row, not strictly in order, since users are collected into batches.
 * Before an error of `rows`, the store or `complete` is thrown, the users read so far are imported and their outcomes yielded.
 */
export async function* takeIn(
  rows: AsyncIterable<Row>,
  store: UserImport,
  options: IntakeOptions
): AsyncGenerator<IntakeOutcome> {
  let count = 0
  let waiting: Waiting[] = []
  const place = async function* (): AsyncGenerator<IntakeOutcome> {
    if (waiting.length === 0) return
    const batch = waiting
    waiting = []
    const placings = await store.place(
      batch.map(({ user }) => user),
      options
    )
    for (const [index, each] of batch.entries()) yield toIntakeOutcome(each, placings[index] as Placing)
    await options.complete()
  }
  try {
    for await (const row of rows) {
      const where = { row: ++count, line: row.line }
      const reading = row.fault === undefined ? readUser(row.value, options) : refused(row.fault)
      if (reading.kind === 'user') waiting.push({ ...where, user: reading.user })
      else yield { ...where, ...reading }
      if (waiting.length === importBatch) yield* place()
    }
  } catch (error) {
    yield* place()
    throw error
  }
  yield* place()
}

const refused = (reason: string) => ({ kind: 'refused', reason }) as const

const toIntakeOutcome = ({ row, line, user }: Waiting, placing: Placing): IntakeOutcome => {
  const { id, username } = user
  return placing.kind === 'refused'
    ? { row, line, ...placing, username, ...(id !== undefined && { id }) }
    : { row, line, ...placing }
}
