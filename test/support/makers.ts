import type { SessionDevice } from '../../src/hooks.ts'
import type { Revocation } from '../../src/sessions/revocations.ts'
import type { SessionPolicy } from '../../src/sessions/session.ts'

/** A policy: Keyturn's defaults but for what the case is about. */
export const aPolicy = (changes: Partial<SessionPolicy> = {}): SessionPolicy => ({
  lifetime: 86_400,
  absoluteLifetime: 30 * 86_400,
  grace: 10,
  lateRetry: 0,
  rotate: true,
  maxPerUser: 1000,
  ...changes
})

let entries = 0

/** An entry of the revocation list, each with a position of its own, which grows. */
export const aRevocation = (id: string, revokedAt: number, kind: Revocation['kind'] = 'sid'): Revocation => {
  entries += 1
  return { kind, id, revokedAt, position: `${entries}` }
}

export const aDevice: SessionDevice = { ip: '192.0.2.1', userAgent: 'test' }
