import { type FieldMessage, KeyturnError } from '../errors.ts'
import { type PasswordPolicy, passwordFault } from '../passwords/policy.ts'
import { type Caller, makeRecheckCaller } from './caller.ts'
import type { LoginDevice } from './login.ts'
import type { Parts } from './parts.ts'

/** Where a new password comes from, and the id of its request for the audit trail. */
export interface PasswordSender extends Pick<LoginDevice, 'ip' | 'signal'> {
  readonly requestId: string
}

export interface PasswordChange {
  readonly current: string
  readonly wanted: string
}

/**
 * Sets the caller's password, given the current one, and ends all other sessions, so that others who knew the old password are
 * logged out. The current password can be guessed here as at a login, so guesses have the same limits. Hashing takes up to
 * seconds, so the caller is checked again before the change. Throws KeyturnError FIELDS_INVALID naming the field, BUSY if too many
 * logins wait for a hash, and the errors of TryPassword and makeRecheckCaller.
 */
export const makeChangePassword = (parts: Parts) => {
  const { users, usersWith, hasher, sessions, passwordPolicy, tryPassword, clock } = parts
  const recheckCaller = makeRecheckCaller(parts)
  return async (
    caller: Caller,
    { ip, signal, requestId }: PasswordSender,
    { current, wanted }: PasswordChange
  ): Promise<void> => {
    const { userId, username, sid } = caller
    let digest: string | undefined
    for (let isSet = false; !isSet; ) {
      const { isRight, user } = await tryPassword({ username, ip, sid }, async (chargeUser) => {
        const user = await users.findById(userId)
        await chargeUser(user?.id)
        return { isRight: await hasher.verify(current, user?.passwordHash, signal), user }
      })
      if (!isRight || user === undefined) throw invalid('current_password', 'This is not the current password.')
      await demandAllowedPassword(wanted, user.username, passwordPolicy)
      digest ??= await hasher.hash(wanted, signal)
      await recheckCaller(caller, user)
      // Only over the digest that was verified. Another one may be of the same password, rehashed by a login: look again.
      const entry = { event: 'password_change', result: 'ok', at: clock(), userId, sid, ip, requestId } as const
      isSet = await usersWith(entry).replacePasswordHash(user.id, user.passwordHash, digest)
    }
    await sessions.revokeAll(userId, sid).catch(sessionsKept(caller))
  }
}

/**
 * For a password that is set although the sessions could not be ended. The caller is refused, and the audit trail has a second
 * entry, with the result `sessions_kept`.
 */
export const sessionsKept =
  ({ userId, sid }: { readonly userId: string; readonly sid?: string | undefined }) =>
  (error: unknown): never => {
    if (!(error instanceof KeyturnError)) throw error
    const { code, detail, cause } = error
    throw new KeyturnError(code, {
      ...(detail !== undefined && { detail }),
      ...(sid !== undefined && { sid }),
      cause,
      userId,
      verdict: 'sessions_kept'
    })
  }

/** Throws KeyturnError FIELDS_INVALID naming `new_password` if the policy refuses it. */
export async function demandAllowedPassword(wanted: string, username: string, policy: PasswordPolicy): Promise<void> {
  const fault = await passwordFault(wanted, username, policy)
  if (fault !== undefined) throw invalid('new_password', fault)
}

const invalid = (field: string, message: FieldMessage): KeyturnError =>
  new KeyturnError('FIELDS_INVALID', { fields: { [field]: [message] } })
