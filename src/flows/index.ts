import { makeCurrentUsers } from '../users/recent.ts'
import { makeBlacklist } from './blacklist.ts'
import { makeAuthenticate } from './caller.ts'
import { makeForwardAuth } from './forward-auth.ts'
import { makeGrants } from './grants.ts'
import { makeIntrospect } from './introspect.ts'
import { makeObtain } from './obtain.ts'
import type { Parts } from './parts.ts'
import { makeChangePassword } from './password.ts'
import { makeRefresh } from './refresh.ts'
import { makeRevoke } from './revoke.ts'
import { makeSessions } from './sessions.ts'
import { makeSliding } from './sliding.ts'
import { makeNewestFirst } from './try-each.ts'
import { makeVerifyBatch } from './verify-batch.ts'
import { makeVerify } from './verify.ts'

/** Every use case. */
export const makeFlows = (parts: Parts) => ({
  obtain: makeObtain(parts),
  refresh: makeRefresh(parts),
  verify: makeVerify(parts),
  verifyBatch: makeVerifyBatch(parts),
  blacklist: makeBlacklist(parts),
  sliding: makeSliding(parts),
  authenticate: makeAuthenticate(parts, makeCurrentUsers(parts.users)),
  sessions: makeSessions(parts),
  changePassword: makeChangePassword(parts),
  forwardAuth: makeForwardAuth(parts),
  introspect: makeIntrospect(parts),
  revoke: makeRevoke(parts),
  grants: makeGrants(parts),
  newestFirst: makeNewestFirst(parts)
})

export type Flows = ReturnType<typeof makeFlows>
