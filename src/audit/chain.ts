import { equalInConstantTime, hmac } from '../random.ts'
import type { AuditEvent } from './event.ts'
import type { AuditEntry } from './store.ts'

/** The position and the hash of an entry: all that the next entry needs. */
export type Link = Pick<AuditEntry, 'seq' | 'hash'>

/** Precedes the first entry. */
export const beginning: Link = { seq: 0, hash: '' }

/**
 * The event as the entry that follows `before`. Its hash is an HMAC under `secret`, which is not in the trail: with write access
 * to the database alone, an attacker cannot change, remove or insert an entry without breaking the chain. The newest entries can
 * be cut off, which a link noted earlier reveals (`keyturn audit verify --link`).
 */
export function link(before: Link, event: AuditEvent, secret: Buffer): AuditEntry {
  const seq = before.seq + 1
  return { ...event, seq, hash: hashOf(before, { ...event, seq }, secret) }
}

function hashOf(before: Link, entry: Omit<AuditEntry, 'hash'>, secret: Buffer): string {
  const { seq, at, event, result, userId, sid, object, actor, ip, requestId } = entry
  // A list, since the members of an object have no order. Absent values are null, as in the table.
  const facts = [before.hash, seq, at, event, result, userId, sid, object, actor, ip, requestId]
  return hmac(secret, JSON.stringify(facts.map((fact) => fact ?? null))).toString('base64url')
}

/** Why `entry` is not the unchanged successor of `before`, in one sentence; undefined if it is. */
export function chainFault(before: Link, entry: AuditEntry, secret: Buffer): string | undefined {
  if (entry.seq > before.seq + 1) {
    const [first, last] = [before.seq + 1, entry.seq - 1]
    return first === last ? `Entry ${first} is missing.` : `Entries ${first} to ${last} are missing.`
  }
  if (!equalInConstantTime(hashOf(before, entry, secret), entry.hash))
    return `Entry ${entry.seq} is not what was written: it, or the one before it, was changed or put in.`
  return undefined
}
