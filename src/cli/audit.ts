import { setTimeout as sleep } from 'node:timers/promises'
import { beginning, chainFault, type Link } from '../audit/chain.ts'
import type { AuditEntry, AuditStore } from '../audit/store.ts'
import { loadConfig } from '../config/load.ts'
import { makeAuditStore } from '../stores/sql/audit.ts'
import { showTime } from '../time.ts'
import { withDatabase } from './database.ts'
import { auditSecret } from './record.ts'
import { print, Refusal, say } from './terminal.ts'

/** Entries per query. */
const pageSize = 1000

/** How often `--follow` polls, in milliseconds. */
const followInterval = 1000

/** How many faults of a broken trail are printed: one is enough to distrust it. */
const maxFaults = 20

/**
 * `keyturn audit verify [--link SEQ:HASH]`: verifies that the trail is unchanged. Prints the link of its newest entry, to be
 * kept somewhere else. Throws Refusal if the trail was changed, or the entry of the given link is missing or was changed.
 */
export async function verifyTrail({ link }: { readonly link?: Link }): Promise<void> {
  const config = loadConfig(process.env)
  await withDatabase(config, async (database) => {
    const [store, secret] = [makeAuditStore(database), await auditSecret(config, database)]
    const faults: string[] = []
    let newest = beginning
    let isLinked = link === undefined
    for await (const entry of entriesAfter(store, 0)) {
      const fault = chainFault(newest, entry, secret)
      if (fault !== undefined && faults.length < maxFaults) faults.push(fault)
      isLinked ||= entry.seq === link?.seq && entry.hash === link.hash
      newest = entry
    }
    if (!isLinked) faults.push(`Entry ${link?.seq} is missing or has changed since its link was printed.`)
    for (const fault of faults) say(fault)
    if (faults.length > 0) throw new Refusal('The audit trail is broken: its table was changed.')
    const unplaced = await store.countUnplaced()
    if (unplaced > 0) say(`${unplaced} older entries are not part of the chain: an earlier version wrote them.`)
    say(newest.seq === 0 ? 'The audit trail is empty.' : `${newest.seq} entries verified. Link of the newest:`)
    if (newest.seq > 0) print(`${newest.seq}:${newest.hash}`)
  })
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

const toJsonLine = ({ seq, at, event, result, userId, sid, object, actor, ip, requestId, hash }: AuditEntry): string =>
  JSON.stringify({
    seq,
    at: showTime(at),
    event,
    result,
    user_id: userId ?? null,
    sid: sid ?? null,
    object: object ?? null,
    actor: actor ?? null,
    ip: ip === '' ? null : ip,
    request_id: requestId,
    hash
  })

function toLine({ seq, at, event, result, userId, sid, object, actor, ip }: AuditEntry): string {
  const facts = { user: userId, session: sid, object, by: actor, from: ip === '' ? undefined : ip }
  const fields = Object.entries(facts).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
  return [String(seq).padStart(6), showTime(at), event.padEnd(15), result.padEnd(12), ...fields].join('  ')
}
