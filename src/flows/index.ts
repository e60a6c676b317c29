import { makeCurrentUsers } from '../users/recent.ts'
import { makeAdopt } from './adopt.ts'
import { makeAuthenticate, makeForwardAuth, makeIdentify } from './caller.ts'
import { makeGrants } from './grants.ts'
import { makeIntrospect } from './introspect.ts'
import { makeLogIn, makeObtain } from './login.ts'
import { makeLogout } from './logout.ts'
import type { Parts } from './parts.ts'
import { makeScopesByHook } from './management/act.ts'
import { makeAuthorize } from './management/authorize.ts'
import { makeChangePassword } from './password.ts'
import { makePasswordForgotten } from './password-forgotten.ts'
import { makeResetPassword } from './password-reset.ts'
import { makeFindHolder, makeRefresh } from './refresh.ts'
import { makeSessions } from './sessions.ts'
import { makeNewestFirst, tryEach } from './try-each.ts'
import { makeVerify, makeVerifyBatch } from './verify.ts'

/** Composes every use case. Parts that several of them share are created once. */
export function makeFlows(parts: Parts) {
  const adopt = makeAdopt(parts)
  const findHolder = makeFindHolder(parts)
  const verify = makeVerify(parts)
  const refreshes = makeRefresh(parts, { adopt, findHolder })
  const currentUsers = makeCurrentUsers(parts.users)
  const scopesByHook = makeScopesByHook(parts.hooks)
  return {
    ...makeObtain(parts, { logIn: makeLogIn(parts) }),
    ...refreshes,
    ...makeLogout(parts, { adopt }),
    verify,
    verifyBatch: makeVerifyBatch({ verify }),
    introspect: makeIntrospect(parts, { verify, findHolder }),
    authenticate: makeAuthenticate(parts, currentUsers),
    authorize: makeAuthorize(parts, { identify: makeIdentify(parts, currentUsers) }),
    scopesByHook,
    forwardAuth: makeForwardAuth(parts),
    sessions: makeSessions(parts),
    changePassword: makeChangePassword(parts),
    resetPassword: makeResetPassword(parts, { scopesByHook }),
    /** Only where a hook sends the token. */
    ...(parts.hooks.sendsPasswordResets && { passwordForgotten: makePasswordForgotten(parts) }),
    grants: makeGrants(parts, refreshes),
    newestFirst: makeNewestFirst(parts),
    tryEach
  }
}

export type Flows = ReturnType<typeof makeFlows>
