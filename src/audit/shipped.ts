import type { AuditEntry } from './store.ts'
import { showTime } from '../time.ts'

/** An entry with the names of the table and the time in UTC: the form in which a trail leaves its host. */
export const showEntry = ({ seq, at, event, result, userId, sid, object, actor, ip, requestId, hash }: AuditEntry) => ({
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

/** The same as one line of JSON. */
export const toJsonLine = (entry: AuditEntry): string => JSON.stringify(showEntry(entry))

/** The entry of such a line; undefined if it is not one. Its hash is not checked here. */
export function parseJsonLine(line: string): AuditEntry | undefined {
  try {
    const { seq, at, event, result, user_id, sid, object, actor, ip, request_id, hash } = JSON.parse(line)
    if (!Number.isSafeInteger(seq) || typeof hash !== 'string') return undefined
    return {
      seq,
      hash,
      at: Date.parse(at) / 1000,
      event,
      result,
      userId: user_id ?? undefined,
      sid: sid ?? undefined,
      object: object ?? undefined,
      actor: actor ?? undefined,
      ip: ip ?? '',
      requestId: request_id
    }
  } catch {
    return undefined
  }
}
