import { equalInConstantTime, hmac } from '../random.ts'
import type { AuditEvent } from './event.ts'
import type { AuditEntry } from './store.ts'

/** The place and the hash of an entry: all that the next one needs to know of the trail. */
export type Link = Pick<AuditEntry, 'seq' | 'hash'>

/** What the first entry follows. */
export const beginning: Link = { seq: 0, hash: '' }

/**
 * The event as the entry that follows `before`. Its hash is an HMAC under `secret`, which is not in the trail: whoever can
 * write to the database, and no more, can neither change an entry, nor take one out, nor put one in, without breaking the chain.
 * The newest entries can be cut off; who noted a link finds that out (`keyturn audit verify --link`).
 */
export function link(before: Link, event: AuditEvent, secret: Buffer): AuditEntry {
  const seq = before.seq + 1
  return { ...event, seq, hash: hashOf(before, { ...event, seq }, secret) }
}

function hashOf(before: Link, entry: Omit<AuditEntry, 'hash'>, secret: Buffer): string {
  const { seq, at, event, result, userId, sid, object, actor, ip, requestId } = entry
  // A list, since the members of an object have no order. What is absent is null, as it is in the table.
  const facts = [before.hash, seq, at, event, result, userId, sid, object, actor, ip, requestId]
  return hmac(secret, JSON.stringify(facts.map((fact) => fact ?? null))).toString('base64url')
}

/** What is wrong with `entry` as the one after `before`, as a plain sentence; undefined when it is what was written. */
export function chainFault(before: Link, entry: AuditEntry, secret: Buffer): string | undefined {
  if (entry.seq > before.seq + 1) {
    const [first, last] = [before.seq + 1, entry.seq - 1]
    return first === last ? `Entry ${first} is missing.` : `Entries ${first} to ${last} are missing.`
  }
  if (!equalInConstantTime(hashOf(before, entry, secret), entry.hash))
    return `Entry ${entry.seq} is not what was written: it, or the one before it, was changed or put in.`
  return undefined
}
