import { open, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { beginning, chainFault, type Link } from '../audit/chain.ts'
import { type Checkpoint, isGenuine, makeCheckpoint, parseCheckpoint } from '../audit/checkpoint.ts'
import { parseJsonLine, toJsonLine } from '../audit/shipped.ts'
import type { AuditEntry, AuditStore } from '../audit/store.ts'
import { loadConfig } from '../config/load.ts'
import { makeAuditStore } from '../stores/sql/audit.ts'
import { showTime, systemClock } from '../time.ts'
import { withDatabase } from './database.ts'
import { auditSecret } from './record.ts'
import { print, Refusal, say } from './terminal.ts'

/** Entries per query. */
const pageSize = 1000

/** How often `--follow` polls, in milliseconds. */
const followInterval = 1000

/** How many faults of a broken trail are printed. A single one is enough to distrust it. */
const maxFaults = 20

interface VerifyOptions {
  readonly link?: Link
  /** The file of a checkpoint. */
  readonly checkpoint?: string
  /** A file of JSON lines that is verified instead of the table. */
  readonly from?: string
}

/**
 * `keyturn audit verify [--from FILE] [--link SEQ:HASH] [--checkpoint FILE]`: verifies that the trail is unchanged, or a copy of it.
 * Prints the link of its newest entry, to be kept somewhere else. Throws Refusal if the trail was changed, or the entry of the
 * given link or checkpoint is missing or was changed.
 */
export async function verifyTrail({ link, checkpoint: file, from }: VerifyOptions): Promise<void> {
  const checkpoint = file === undefined ? undefined : await readCheckpoint(file)
  const config = loadConfig(process.env)
  await withDatabase(config, async (database) => {
    const [store, secret] = [makeAuditStore(database), await auditSecret(config, database)]
    if (checkpoint !== undefined && !isGenuine(checkpoint, secret))
      throw new Refusal(`${file}: the checkpoint was changed, or another installation signed it.`)
    const wanted = [link, checkpoint].filter((each) => each !== undefined && each.seq > 0) as readonly Link[]
    const entries = from === undefined ? entriesAfter(store, 0) : entriesOf(from)
    const { faults, newest } = await findFaults(entries, wanted, secret)
    for (const fault of faults) say(fault)
    if (faults.length > 0) throw new Refusal(`The audit trail is broken: ${from ?? 'its table'} was changed.`)
    const unplaced = await store.countUnplaced()
    if (unplaced > 0) say(`${unplaced} older entries are not part of the chain: an earlier version wrote them.`)
    say(newest.seq === 0 ? 'The audit trail is empty.' : `${newest.seq} entries verified. Link of the newest:`)
    if (newest.seq > 0) print(`${newest.seq}:${newest.hash}`)
  })
}

/** What is wrong with the trail, one sentence each, and its newest entry. `wanted` are entries that must be in it. */
async function findFaults(
  entries: AsyncIterable<AuditEntry>,
  wanted: readonly Link[],
  secret: Buffer
): Promise<{ readonly faults: readonly string[]; readonly newest: Link }> {
  const faults: string[] = []
  const missing = new Set(wanted)
  let newest = beginning
  for await (const entry of entries) {
    const fault = chainFault(newest, entry, secret)
    if (fault !== undefined && faults.length < maxFaults) faults.push(fault)
    for (const each of missing) if (each.seq === entry.seq && each.hash === entry.hash) missing.delete(each)
    newest = entry
  }
  for (const { seq } of missing) faults.push(`Entry ${seq} is missing or has changed since its link was printed.`)
  return { faults, newest }
}

/** `keyturn audit checkpoint`: prints a signed checkpoint of the newest entry, to be kept somewhere else. */
export async function printCheckpoint(): Promise<void> {
  const config = loadConfig(process.env)
  await withDatabase(config, async (database) => {
    const newest = (await makeAuditStore(database).last()) ?? beginning
    print(JSON.stringify(makeCheckpoint(newest, systemClock(), await auditSecret(config, database))))
  })
}

async function readCheckpoint(file: string): Promise<Checkpoint> {
  const checkpoint = parseCheckpoint(await readFile(file, 'utf8').catch(refuseFile))
  if (checkpoint === undefined) throw new Refusal(`${file}: expected the output of keyturn audit checkpoint.`)
  return checkpoint
}

/** The entries of a file of JSON lines, as `audit tail --json` give them. */
async function* entriesOf(file: string): AsyncGenerator<AuditEntry> {
  const handle = await open(file).catch(refuseFile)
  let number = 0
  for await (const line of handle.readLines()) {
    number += 1
    const entry = parseJsonLine(line)
    if (entry === undefined) throw new Refusal(`${file}: line ${number} is not an entry of an audit trail.`)
    yield entry
  }
}

function refuseFile(error: Error): never {
  throw new Refusal(error.message)
}

/** `keyturn audit tail [--lines N] [--follow] [--json]`: the newest entries, in the order in which they were written. */
export async function tailTrail({
  lines,
  follow,
  json
}: {
  readonly lines: number
  readonly follow?: boolean
  readonly json?: boolean
}): Promise<void> {
  await withDatabase(loadConfig(process.env), async (database) => {
    const store = makeAuditStore(database)
    let seen = Math.max(0, ((await store.last())?.seq ?? 0) - lines)
    do {
      for await (const entry of entriesAfter(store, seen)) {
        print(json === true ? toJsonLine(entry) : toLine(entry))
        seen = entry.seq
      }
      if (follow === true) await sleep(followInterval)
    } while (follow === true)
  })
}

/** All entries after `seq`, page by page. */
async function* entriesAfter(store: AuditStore, seq: number): AsyncGenerator<AuditEntry> {
  let page = await store.list(seq, pageSize)
  while (page.length > 0) {
    yield* page
    page = await store.list(page.at(-1)?.seq ?? 0, pageSize)
  }
}

function toLine({ seq, at, event, result, userId, sid, object, actor, ip }: AuditEntry): string {
  const facts = { user: userId, session: sid, object, by: actor, from: ip === '' ? undefined : ip }
  const fields = Object.entries(facts).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
  return [String(seq).padStart(6), showTime(at), event.padEnd(15), result.padEnd(12), ...fields].join('  ')
}
