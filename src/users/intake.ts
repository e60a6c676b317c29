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

/**
 * Imports the users of a dump and yields the outcome of each row, not strictly in order, since users are collected into batches.
 * Before an error of `rows` or the store is thrown, the users read so far are imported and their outcomes yielded.
 */
export async function* takeIn(
  rows: AsyncIterable<Row>,
  store: UserImport,
  options: ImportOptions & { readonly update: boolean }
): AsyncGenerator<IntakeOutcome> {
  let count = 0
  let waiting: Waiting[] = []
  const place = async (): Promise<IntakeOutcome[]> => {
    const batch = waiting
    waiting = []
    const users = batch.map(({ user }) => user)
    const placings = users.length === 0 ? [] : await store.place(users, options)
    return batch.map((each, index) => toIntakeOutcome(each, placings[index] as Placing))
  }
  try {
    for await (const row of rows) {
      const where = { row: ++count, line: row.line }
      const reading = row.fault === undefined ? readUser(row.value, options) : refused(row.fault)
      if (reading.kind === 'user') waiting.push({ ...where, user: reading.user })
      else yield { ...where, ...reading }
      if (waiting.length === importBatch) yield* await place()
    }
  } catch (error) {
    yield* await place()
    throw error
  }
  yield* await place()
}

const refused = (reason: string) => ({ kind: 'refused', reason }) as const

const toIntakeOutcome = ({ row, line, user }: Waiting, placing: Placing): IntakeOutcome => {
  const { id, username } = user
  return placing.kind === 'refused'
    ? { row, line, ...placing, username, ...(id !== undefined && { id }) }
    : { row, line, ...placing }
}
