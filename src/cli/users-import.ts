import { closeSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { claimNames } from '../config/claim-names.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { openEmbedded } from '../stores/embedded/engine.ts'
import { openStores } from '../stores/open.ts'
import type { SqlDatabase } from '../stores/sql/connection.ts'
import { makePendingLogouts } from '../stores/sql/pending-logouts.ts'
import { openTrialImport } from '../stores/sql/trial-import.ts'
import { makeUserImport } from '../stores/sql/user-import.ts'
import { systemClock } from '../time.ts'
import { claimsFault } from '../tokens/custom.ts'
import { type DumpFormat, readDump } from '../users/dump/read.ts'
import { DumpError } from '../users/dump/row.ts'
import { headerFault, type ImportOptions } from '../users/import.ts'
import { takeIn } from '../users/intake.ts'
import { finishLogouts } from '../users/pending-logouts.ts'
import type { UserImport } from '../users/store.ts'
import type { User } from '../users/user.ts'
import { withDatabase } from './database.ts'
import { makeTally, type Note, type Tally } from './import-tally.ts'
import { type Input, openInput } from './input.ts'
import { openProgress } from './progress.ts'
import { openRecordAct, operator } from './record.ts'
import { Refusal, say } from './terminal.ts'

/** The options of `keyturn users import`. */
export interface ImportCommand {
  readonly format?: DumpFormat
  readonly model: string
  readonly usernameField: string
  readonly claim: readonly string[]
  readonly update?: boolean
  readonly dryRun?: boolean
  readonly report?: string
}

/** The destination of the users. */
interface Target {
  readonly store: UserImport
  /** Ends the sessions of updated users, also of those that an interrupted import has left. */
  complete(): Promise<unknown>
}

/**
 * `keyturn users import FILE`: the users of a Django dump or of `users export`. It can be run again after an interruption:
 * users already imported are skipped. Throws Refusal if a row was refused or the file cannot be read to its end.
 */
export async function importUsers(path: string, command: ImportCommand): Promise<void> {
  const config = loadConfig(process.env)
  if (config.usersTable !== undefined)
    say(`The users go into Keyturn's own table, which is not used while USERS_TABLE is set to ${config.usersTable}.`)
  const input = await openInput(path)
  // At Ctrl-C, the rows read so far are imported and reported; a second one ends the process at once.
  process.once('SIGINT', input.stop)
  try {
    const tally = makeTally({ model: command.model, update: command.update === true, dryRun: command.dryRun === true })
    const failure = await withTarget(config, command, (target) =>
      withReport(command.report, (report) => takeInAll(input, target, toOptions(command, config), tally, report))
    )
    if (failure !== undefined && tally.rows() === 0) throw failure
    const [counts, ...others] = tally.lines()
    say(`${input.name}${command.dryRun === true ? ', a dry run' : ''}: ${counts}`)
    for (const line of others) say(line)
    if (failure !== undefined && command.dryRun !== true)
      say(`Run the same command again with the complete file; ${whatIsDone(command)}.`)
    if (failure !== undefined) throw failure
    const fault = tally.fault()
    if (fault !== undefined) throw new Refusal(fault)
  } finally {
    process.removeListener('SIGINT', input.stop)
    input.stop()
  }
}

/** What the same command does about what an interrupted one has done. */
const whatIsDone = ({ update }: ImportCommand): string =>
  update === true ? 'it also ends the sessions that have yet to end' : 'users already imported are skipped'

type Options = ImportOptions & Pick<ImportCommand, 'format'> & { readonly update: boolean }

function toOptions({ claim, update, ...command }: ImportCommand, config: Config): Options {
  const names = claimNames(config)
  return {
    ...command,
    update: update === true,
    claimFields: claim,
    claimsFault: (claims) => claimsFault(claims, names)
  }
}

/** Imports the whole input. Returns the error that interrupts it, so that the caller reports the imported rows first. */
async function takeInAll(
  input: Input,
  { store, complete }: Target,
  options: Options,
  tally: Tally,
  report: (note: Note) => void
): Promise<unknown> {
  const rows = readDump(input.chunks, { format: options.format, headerFault: (names) => headerFault(names, options) })
  const progress = openProgress()
  try {
    await complete()
    for await (const outcome of takeIn(rows, store, { ...options, complete })) {
      const note = tally.add(outcome)
      if (note !== undefined) report(note)
      progress.show({ rows: outcome.row, bytes: input.bytes(), totalBytes: input.totalBytes })
    }
    return undefined
  } catch (error) {
    return error instanceof DumpError ? new Refusal(`${input.name}: ${error.message}`) : error
  } finally {
    progress.end()
  }
}

/** Opens what an import needs: a scratch database for a dry run, and the sessions for an update. */
async function withTarget<T>(
  config: Config,
  { update, dryRun }: ImportCommand,
  work: (target: Target) => Promise<T>
): Promise<T> {
  const complete = async (): Promise<void> => {} // without an update no user changes
  if (dryRun === true)
    return await withDatabase(config, (database) =>
      withScratch(async (scratch) => work({ store: await openTrialImport(database, scratch), complete }))
    )
  if (update !== true)
    return await withDatabase(config, async (database) => {
      await recordImport(config, database)
      return await work({ store: makeUserImport(database, systemClock), complete })
    })
  const { database, sessions, close } = await openStores(config, systemClock)
  try {
    const store = makeUserImport(database, systemClock)
    await recordImport(config, database)
    const pending = makePendingLogouts(database)
    const logOut = (user: Pick<User, 'id' | 'username'>) => sessions.revokeAll(user[config.userIdField])
    return await work({ store, complete: () => finishLogouts(pending, logOut) })
  } finally {
    await close()
  }
}

/** Recorded before the first user is imported. */
const recordImport = async (config: Config, database: SqlDatabase): Promise<void> =>
  (await openRecordAct(config, database))('users_import', operator)

/** Opens an empty database in a temporary folder and removes both afterwards. */
async function withScratch<T>(work: (scratch: ReturnType<typeof openEmbedded>) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-import-'))
  const scratch = openEmbedded(folder)
  try {
    return await work(scratch)
  } finally {
    await scratch.close()
    await rm(folder, { recursive: true })
  }
}

/** Writes notes as NDJSON. Throws Refusal if the file exists, since it may be the dump itself, or cannot be created. */
async function withReport<T>(path: string | undefined, work: (report: (note: Note) => void) => Promise<T>): Promise<T> {
  if (path === undefined) return await work(() => {})
  let file: number
  try {
    file = openSync(path, 'wx', 0o600)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Refusal(`The report ${path} ${code === 'EEXIST' ? 'already exists' : `cannot be written (${code})`}.`)
  }
  try {
    return await work((note) => void writeSync(file, `${JSON.stringify(note)}\n`))
  } finally {
    closeSync(file)
  }
}
