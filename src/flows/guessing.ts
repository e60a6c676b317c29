import { networkOf } from '../addresses.ts'
import type { Rate } from '../config/settings.ts'
import { KeyturnError } from '../errors.ts'
import type { Budget, Charge, GuessStore } from '../passwords/guessing.ts'
import { hmac } from '../random.ts'
import { normalizeUsername } from '../users/user.ts'

/** A password that is about to be tried. */
export interface Guess {
  /** The username, whether it exists or not. */
  readonly username: string
  /** Where it comes from. */
  readonly ip: string
  /** The session of this user that the caller has a token of; undefined without one. */
  readonly sid?: string | undefined
}

export interface GuessLimits {
  /** LOGIN_BACKOFF. */
  readonly isOn: boolean
  /** LOGIN_FAILURES_ADDRESS, of wrong passwords and of requests for a password reset, separately. */
  readonly address: Rate
  /** LOGIN_FAILURES_ALL. */
  readonly everybody: Rate
}

/** A budget, and the name of its kind in keys. */
interface NamedBudget {
  readonly name: string
  readonly budget: Budget
}

/** The budgets of one account: one for all untrusted sources together, and one for each trusted source. */
interface AccountBudgets {
  readonly strangers: NamedBudget
  readonly source: NamedBudget
}

/** Ten guesses at once, then one a minute. Together with those of a trusted source, fewer than 100 in any hour. */
const ofGuesses: AccountBudgets = {
  strangers: { name: 'account', budget: { tries: 10, window: 600 } },
  source: { name: 'source', budget: { tries: 10, window: 3600 } }
}

/** Each request may send a mail, and no user needs many: five at once, then one in twelve minutes. */
const ofResets: AccountBudgets = {
  strangers: { name: 'reset account', budget: { tries: 5, window: 3600 } },
  source: { name: 'reset source', budget: { tries: 5, window: 3600 } }
}

/**
 * Charges the guess to the user that the name matched; undefined for none, which costs the same. Called before the password is
 * checked. Throws KeyturnError RATE_LIMITED if that user has no tries left.
 */
export type ChargeUser = (userId: string | undefined) => Promise<void>

/**
 * Runs `check`, which returns whether the password was correct, as one guess. Throws KeyturnError RATE_LIMITED, before a
 * password is hashed, if there have been too many.
 */
export type TryPassword = <T extends { readonly isRight: boolean }>(
  guess: Guess,
  check: (chargeUser: ChargeUser) => Promise<T>
) => Promise<T>

/**
 * Charges a request for a password reset to the account that it names, whether it exists or not, and to its network. The
 * budgets are separate from those of guesses. Returns a function that charges the user that the name matched. Throws
 * KeyturnError RATE_LIMITED.
 */
export type ChargeReset = (request: Pick<Guess, 'username' | 'ip'>) => Promise<ChargeUser>

/** The source of a guess, as far as budgets are concerned. */
interface Source {
  /** The name as sent, folded. */
  readonly name: string
  readonly network: string
  readonly sid: string | undefined
  /** Whether the correct password for this name has come from this network before. */
  readonly isKnown: boolean
}

/** Takes tries from the budgets of accounts and networks. */
class Accounts {
  readonly #guesses: GuessStore
  readonly #secret: Buffer

  constructor(guesses: GuessStore, secret: Buffer) {
    this.#guesses = guesses
    this.#secret = secret
  }

  charge(budget: Budget, ...parts: readonly string[]): Charge {
    return { key: this.#keyOf(...parts), budget }
  }

  /** Looked up even with a session, so that both cases take the same time. */
  async findSource({ username, ip, sid }: Guess): Promise<Source> {
    const [name, network] = [foldUsername(username), networkOf(ip)]
    return { name, network, sid, isKnown: await this.#guesses.isKnown(this.#keyOf('source', name, network)) }
  }

  async remember({ name, network }: Source): Promise<void> {
    await this.#guesses.remember(this.#keyOf('source', name, network))
  }

  /** The account of a name as sent. */
  takeOfName(budgets: AccountBudgets, source: Source, others: readonly Charge[] = []): Promise<readonly Charge[]> {
    return this.#take(budgets, [source.name], source, others)
  }

  /** The account of the user that the name matched. */
  takeOfUser(budgets: AccountBudgets, source: Source, userId: string | undefined): Promise<readonly Charge[]> {
    return this.#take(budgets, userId === undefined ? ['unknown', source.name] : ['user', userId], source)
  }

  /**
   * Takes a try from the budget of the trusted source; if the source is not trusted or that budget is exhausted, from the common
   * budget of `account` and from each of `others`.
   */
  async #take(
    { strangers, source: known }: AccountBudgets,
    account: readonly string[],
    { network, sid, isKnown }: Source,
    others: readonly Charge[] = []
  ): Promise<readonly Charge[]> {
    if (isKnown || sid !== undefined) {
      const own = [this.charge(known.budget, known.name, ...account, sid ?? network)]
      if ((await this.#guesses.take(own)) === 0) return own
    }
    const all = [this.charge(strangers.budget, strangers.name, ...account), ...others]
    const wait = await this.#guesses.take(all)
    if (wait > 0) throw new KeyturnError('RATE_LIMITED', { detail: String(wait), retryAfter: wait })
    return all
  }

  #keyOf(...parts: readonly string[]): string {
    return hmac(this.#secret, JSON.stringify(parts)).toString('base64url', 0, 16)
  }
}

/**
 * Slows guessing down without locking the owner out. A wrong password is charged to the account, to the network it comes from
 * (which may try many accounts), and to all networks together (each of which may try one account). It is charged before the
 * password is checked, so of a hundred concurrent guesses, no more are checked than there are tries. A correct password is
 * refunded.
 *
 * A caller from a network from which this account has logged in before, or with one of its sessions, is trusted: it has a
 * budget of its own, which no other source can exhaust, and is not charged to the common ones. Once its budget is exhausted, it
 * is treated like any other source, so being trusted is never a disadvantage.
 *
 * The account is charged twice: by the name as sent, whether a user has it or not, and by the user that the database found for
 * it. A database may treat many spellings as one name (citext, a nondeterministic collation); otherwise each spelling would
 * have its own budget. The keys in the store are keyed hashes, so the store contains no names.
 */
export function makeTryPassword(guesses: GuessStore, secret: Buffer, limits: GuessLimits): TryPassword {
  const accounts = new Accounts(guesses, secret)
  if (!limits.isOn) return (_guess, check) => check(async () => {})
  return async (guess, check) => {
    const source = await accounts.findSource(guess)
    const charges = [
      ...(await accounts.takeOfName(ofGuesses, source, [
        ...budgetOf(limits.address).map((budget) => accounts.charge(budget, 'network', source.network)),
        ...budgetOf(limits.everybody).map((budget) => accounts.charge(budget, 'everybody'))
      ]))
    ]
    try {
      const answer = await check(async (userId) => {
        charges.push(...(await accounts.takeOfUser(ofGuesses, source, userId)))
      })
      if (!answer.isRight) return answer
      await Promise.all([guesses.giveBack(charges), accounts.remember(source)])
      return answer
    } catch (error) {
      // A password that was not checked was not a guess. If the store is down, the budget refills by itself.
      await guesses.giveBack(charges).catch(() => {})
      throw error
    }
  }
}

/**
 * Off with LOGIN_BACKOFF=off. The network is charged too, with a budget as large as that of wrong passwords: each invented name
 * takes keys in the store and an entry in the audit trail, even if the endpoint has no rate limit (RATE_LIMIT_OBTAIN=off).
 */
export function makeChargeReset(
  guesses: GuessStore,
  secret: Buffer,
  { isOn, address }: Pick<GuessLimits, 'isOn' | 'address'>
): ChargeReset {
  const accounts = new Accounts(guesses, secret)
  if (!isOn) return async () => async () => {}
  return async (request) => {
    const source = await accounts.findSource(request)
    const ofNetwork = budgetOf(address).map((budget) => accounts.charge(budget, 'reset network', source.network))
    await accounts.takeOfName(ofResets, source, ofNetwork)
    return async (userId) => void (await accounts.takeOfUser(ofResets, source, userId))
  }
}

/** The same for two names that may belong to one user. */
export const foldUsername = (username: string): string => normalizeUsername(username).toLowerCase()

/** `off` is none. */
const budgetOf = (rate: Rate): readonly Budget[] =>
  rate === null ? [] : [{ tries: rate.requests, window: rate.window }]
