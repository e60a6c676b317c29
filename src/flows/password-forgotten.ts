import { setTimeout as delay } from 'node:timers/promises'
import { KeyturnError } from '../errors.ts'
import type { SessionDevice } from '../hooks.ts'
import { makeOneTimeToken } from '../one-time-tokens/token.ts'
import { digestKind } from '../passwords/digest.ts'
import type { User } from '../users/user.ts'
import { demandShortUsername } from './credentials.ts'
import type { ChargeUser } from './guessing.ts'
import type { Parts } from './parts.ts'

/** A user who has forgotten a password, or a caller who claims to be one. */
export interface PasswordResetRequest extends SessionDevice {
  readonly username: string
  /** The id of the request, for the audit trail. */
  readonly requestId: string
}

/** How many requests of this process may be in progress, hooks included. */
const maxPending = 100

/**
 * The work begins at a random time within so many milliseconds after the response. If it began at once, the caller's next
 * request would wait for it, and its duration would reveal whether the hook was called.
 */
const maxDelayMs = 250

/** Belongs to the row that is written when no token is issued. No user has it. */
const decoyUser = { id: '', passwordHash: '', isActive: false, claims: {} }

/**
 * Handles requests for a password reset. The response must not reveal whether the user exists, so nothing that depends on the
 * user happens before it: `accept` only charges limits, and the work that it returns must be run after the response. That work
 * writes the same rows for every name; the hook is not called for unknown ones.
 */
export const makePasswordForgotten = (parts: Parts) => {
  const { chargeReset, failed } = parts
  const send = makeSend(parts)
  const pending = new Set<Promise<void>>()
  let accepted = 0

  return {
    /**
     * Returns the work to be run once the answer has been sent, exactly once; it never throws. Throws KeyturnError FIELDS_INVALID for
     * a username that is too long, RATE_LIMITED by its account, BUSY when too many requests are in progress, STORE_DOWN.
     */
    async accept(request: PasswordResetRequest): Promise<() => void> {
      demandShortUsername(request.username)
      if (accepted >= maxPending)
        throw new KeyturnError('BUSY', { detail: `${maxPending} password resets are pending` })
      accepted += 1
      try {
        const chargeUser = await chargeReset(request)
        return () => {
          const work = delay(Math.random() * maxDelayMs)
            .then(() => send(request, chargeUser))
            .catch((error: unknown) => {
              if (!(error instanceof KeyturnError && error.code === 'RATE_LIMITED')) failed(error)
            })
            .finally(() => {
              accepted -= 1
              pending.delete(work)
            })
          pending.add(work)
        }
      } catch (error) {
        accepted -= 1
        throw error
      }
    },

    /** Resolves when all work that was run is done. */
    async settled(): Promise<void> {
      await Promise.all(pending)
    }
  }
}

/** Issues a token and calls the hook, if the name is that of a user who may reset the password. Throws KeyturnError. */
function makeSend({ users, oneTimeTokens, hooks, clock, trail, shedsEntry }: Parts) {
  return async ({ username, requestId, ...device }: PasswordResetRequest, chargeUser: ChargeUser): Promise<void> => {
    const found = await users.findByUsername(username)
    const user = found !== undefined && mayReset(found) && (await hooks.mayAuthenticate(found)) ? found : undefined
    // A database may match several spellings with one user. Each spelling has a budget, and the user has another one.
    await chargeUser(user?.id)
    const { token, stored } = makeOneTimeToken(user ?? decoyUser, 'password_reset', { now: clock() })
    await oneTimeTokens.put(stored)
    // A token without an entry in the trail is never sent.
    const result = user === undefined ? 'not_sent' : 'ok'
    const { ip } = device
    if (!shedsEntry(result, ip))
      await trail.record({ event: 'password_reset_request', result, userId: found?.id, at: clock(), ip, requestId })
    await hooks.onPasswordResetRequested(user, { token, expiresAt: stored.expiresAt, ...device })
  }
}

/**
 * As Django's PasswordResetForm.get_users: a user without a usable password logs in elsewhere, or has yet to accept an invitation.
 * A digest that Keyturn cannot verify is usable, since a reset replaces it.
 */
const mayReset = ({ passwordHash }: User): boolean => digestKind(passwordHash) !== 'unusable'
