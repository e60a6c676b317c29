import { networkOf } from '../addresses.ts'
import type { Rate } from '../config/settings.ts'
import { KeyturnError } from '../errors.ts'
import type { Budget, Charge, GuessStore } from '../passwords/guessing.ts'
import { hmac } from '../random.ts'
import { normalizeUsername } from '../users/user.ts'

/** A password that is about to be tried. */
export interface Guess {
  /** Whose it is to be, whether there is such a user or not. */
  readonly username: string
  /** Where it comes from. */
  readonly ip: string
  /** The session of this user that whoever sent it has shown to have; undefined for none. */
  readonly sid?: string | undefined
}

export interface GuessLimits {
  /** LOGIN_BACKOFF. */
  readonly isOn: boolean
  /** LOGIN_FAILURES_ADDRESS. */
  readonly address: Rate
  /** LOGIN_FAILURES_ALL. */
  readonly everybody: Rate
}

/**
 * Of one account, by all strangers together: ten at once, then one a minute. With that of a known source these are
 * fewer than 100 in any hour.
 */
const ofAccount: Budget = { tries: 10, window: 600 }

/** Of one account, by one source that is known to it. */
const ofKnownSource: Budget = { tries: 10, window: 3600 }

/**
 * Runs `check`, which gives undefined for a wrong password, as one guess. Throws KeyturnError RATE_LIMITED, before
 * anything is looked up or hashed, when there have been too many.
 */
export type TryPassword = <T>(guess: Guess, check: () => Promise<T | undefined>) => Promise<T | undefined>

/**
 * Slows guessing down, and never locks the owner out. A wrong password is paid from three budgets: that of the account,
 * that of the address it comes from (one that tries many accounts), and that of everybody (many addresses that try many
 * accounts). They are paid before the password is looked at, so that of a hundred at once no more pass than there are
 * tries; a right password gets its own back.
 *
 * Whoever comes from where this account has logged in before, or shows a session of it, is known: he has a budget of
 * his own there, which no stranger can spend, and the others are not asked. When he has spent it, he is a stranger like
 * all others: to be known is never worse.
 *
 * An account is the keyed hash of a name, whether anybody has that name or not: nobody who exists is treated otherwise.
 * Letters of either case are the same one, since a table may compare names so (PostgreSQL's citext).
 */
export function makeTryPassword(guesses: GuessStore, secret: Buffer, limits: GuessLimits): TryPassword {
  const keyOf = (...parts: readonly string[]): string =>
    hmac(secret, JSON.stringify(parts)).toString('base64url', 0, 16)
  const charge = (budget: Budget, ...parts: readonly string[]): Charge => ({ key: keyOf(...parts), budget })

  const take = async (account: string, network: string, sid: string | undefined): Promise<readonly Charge[]> => {
    // Asked in any case, so that it takes as long.
    const isKnown = await guesses.isKnown(keyOf('source', account, network))
    if (isKnown || sid !== undefined) {
      const known = [charge(ofKnownSource, 'source', account, sid ?? network)]
      if ((await guesses.take(known)) === 0) return known
    }
    const strangers = [
      charge(ofAccount, 'account', account),
      ...budgetOf(limits.address).map((budget) => charge(budget, 'network', network)),
      ...budgetOf(limits.everybody).map((budget) => charge(budget, 'everybody'))
    ]
    const wait = await guesses.take(strangers)
    if (wait > 0) throw new KeyturnError('RATE_LIMITED', { detail: String(wait), retryAfter: wait })
    return strangers
  }

  if (!limits.isOn) return (_guess, check) => check()
  return async ({ username, ip, sid }, check) => {
    const [account, network] = [foldUsername(username), networkOf(ip)]
    const charges = await take(account, network, sid)
    try {
      const answer = await check()
      if (answer === undefined) return undefined
      await Promise.all([guesses.giveBack(charges), guesses.remember(keyOf('source', account, network))])
      return answer
    } catch (error) {
      // What could not be looked at was no guess. Should the store be away, the try comes back by itself.
      await guesses.giveBack(charges).catch(() => {})
      throw error
    }
  }
}

/** The same for two names that could be one user's. */
export const foldUsername = (username: string): string => normalizeUsername(username).toLowerCase()

/** `off` is none. */
const budgetOf = (rate: Rate): readonly Budget[] =>
  rate === null ? [] : [{ tries: rate.requests, window: rate.window }]
