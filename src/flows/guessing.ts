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
  /** The session of this user that the caller has a token of; undefined without one. */
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
 * Charges the guess to the user that its name matched; undefined for none, which costs the same. It is called before the
 * password is looked at. Throws KeyturnError RATE_LIMITED when that user has no tries left.
 */
export type ChargeUser = (userId: string | undefined) => Promise<void>

/**
 * Runs `check`, which says whether the password was right, as one guess. Throws KeyturnError RATE_LIMITED, before a password
 * is hashed, when there have been too many.
 */
export type TryPassword = <T extends { readonly isRight: boolean }>(
  guess: Guess,
  check: (chargeUser: ChargeUser) => Promise<T>
) => Promise<T>

/** Where a guess comes from, as far as budgets go. */
interface Source {
  readonly network: string
  readonly sid: string | undefined
  /** Whether the right password of this name has come from the network before. */
  readonly isKnown: boolean
}

/**
 * Slows guessing down and never locks the owner out. A wrong password is charged to the account, to the network it comes
 * from (which may try many accounts), and to all networks together (which may try one account each). It is charged before
 * the password is looked at, so that of a hundred concurrent guesses no more pass than there are tries; a right password
 * gets its own back.
 *
 * A caller from a network where this account has logged in before, or with a session of it, is known: it has a budget of
 * its own, which no stranger can exhaust, and is not charged as a stranger. Once that budget is exhausted it is a stranger
 * like any other: being known is never worse.
 *
 * The account is charged twice: by the name as sent, whether a user has it or not, and by the user that the database
 * found for it. A database may take many spellings for one name (citext, a nondeterministic collation); each of them
 * would otherwise have a budget. Keys are keyed hashes, so that the store holds no names.
 */
export function makeTryPassword(guesses: GuessStore, secret: Buffer, limits: GuessLimits): TryPassword {
  const keyOf = (...parts: readonly string[]): string =>
    hmac(secret, JSON.stringify(parts)).toString('base64url', 0, 16)
  const charge = (budget: Budget, ...parts: readonly string[]): Charge => ({ key: keyOf(...parts), budget })

  /** Takes a try of `account` as its known source; otherwise as a stranger, and then one of each of `others` too. */
  const take = async (
    account: readonly string[],
    { network, sid, isKnown }: Source,
    others: readonly Charge[] = []
  ): Promise<readonly Charge[]> => {
    if (isKnown || sid !== undefined) {
      const known = [charge(ofKnownSource, 'source', ...account, sid ?? network)]
      if ((await guesses.take(known)) === 0) return known
    }
    const strangers = [charge(ofAccount, 'account', ...account), ...others]
    const wait = await guesses.take(strangers)
    if (wait > 0) throw new KeyturnError('RATE_LIMITED', { detail: String(wait), retryAfter: wait })
    return strangers
  }

  if (!limits.isOn) return (_guess, check) => check(async () => {})
  return async ({ username, ip, sid }, check) => {
    const [name, network] = [foldUsername(username), networkOf(ip)]
    const knownSource = keyOf('source', name, network)
    // Looked up with a session too, so that it takes as long.
    const source = { network, sid, isKnown: await guesses.isKnown(knownSource) }
    const charges = [
      ...(await take([name], source, [
        ...budgetOf(limits.address).map((budget) => charge(budget, 'network', network)),
        ...budgetOf(limits.everybody).map((budget) => charge(budget, 'everybody'))
      ]))
    ]
    try {
      const answer = await check(async (userId) => {
        charges.push(...(await take(userId === undefined ? ['unknown', name] : ['user', userId], source)))
      })
      if (!answer.isRight) return answer
      await Promise.all([guesses.giveBack(charges), guesses.remember(knownSource)])
      return answer
    } catch (error) {
      // A password that was not looked at was not a guess. If the store is down, the tries come back by themselves.
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
