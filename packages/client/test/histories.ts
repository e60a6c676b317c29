/*
 * Random histories of tabs that share a session, on a virtual clock and network, and what must hold in each of them. fast-check
 * makes the histories and shrinks those that break a promise.
 */
import fc from 'fast-check'
import type { KeyturnClient } from '../src/client.ts'
import { type Client, type ClientOptions, LoggedOut } from '../src/index.ts'
import type { Session } from '../src/session.ts'
import type { SessionStorage } from '../src/storage.ts'
import { reply } from './support.ts'
import { type Fate, readToken, type Sent, type StorageKind, type Tab, World } from './world.ts'

const timeoutMs = 30_000
const refreshPath = '/api/token/refresh/'
const tabs = 3

interface TabCommand {
  readonly do: 'fetch' | 'token' | 'login' | 'logout' | 'freeze' | 'thaw' | 'replace'
  readonly tab: number
}

/** What happens next. */
export type Command =
  | TabCommand
  | { readonly do: 'pass' | 'jump'; readonly ms: number }
  | { readonly do: 'network'; readonly fates: readonly Fate[] }
  | { readonly do: 'end' }

const fate: fc.Arbitrary<Fate> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  // A request is late by less than the grace, an answer by as much as it likes.
  {
    weight: 3,
    arbitrary: fc.record({ there: fc.integer({ min: 1, max: 3000 }), back: fc.integer({ min: 1, max: 60_000 }) })
  },
  { weight: 2, arbitrary: fc.constantFrom<Fate>({ lost: 'request' }, { lost: 'answer' }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Fate>(
      reply(503),
      reply(503, undefined, { 'retry-after': '3' }),
      reply(429, { detail: 'Request was throttled.' }, { 'retry-after': '60' }),
      reply(500, { detail: 'A server error occurred.' }),
      reply(401, 'Authorization required'),
      reply(200, 'Welcome to our WLAN')
    )
  }
)

const tab = fc.nat({ max: tabs - 1 })
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('fetch', 'token'), tab }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('pass'), ms: fc.constantFrom(10, 500, 5000, 30_000, 250_000, 310_000) })
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('network'), fates: fc.array(fate, { maxLength: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('freeze', 'thaw', 'replace'), tab }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('jump'), ms: fc.constantFrom(-3_600_000, 3_600_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('login', 'logout'), tab }) },
  { weight: 1, arbitrary: fc.constant({ do: 'end' }) }
) as fc.Arbitrary<Command>

export const histories = fc.array(command, { minLength: 5, maxLength: 25 })

/** What a test puts in place of a part of the world, to see that it is missed. */
export interface Broken {
  readonly options?: (world: World, tab: () => Tab) => Partial<ClientOptions>
  readonly storage?: (storage: SessionStorage) => SessionStorage
  readonly kind?: StorageKind
  readonly client?: typeof KeyturnClient
}

class History {
  readonly world: World
  readonly open: Tab[] = []
  readonly broken: Broken
  /** The clock was set, or a login was answered while its tab was frozen: a token may be older than anyone can know. */
  hasUnknownAge = false
  readonly #violations: string[] = []
  #fates: readonly Fate[] = []
  #sent = 0

  constructor(broken: Broken) {
    this.broken = broken
    this.world = new World(broken.kind, broken.client)
    this.world.fate = () => this.#decide()
    this.world.inspect = (sent) => this.#inspect(sent)
    for (let index = 0; index < tabs; index++) this.open.push(this.#openTab())
  }

  #openTab(): Tab {
    const tab: Tab = this.world.openTab(
      { timeoutMs, ...this.broken.options?.(this.world, () => tab) },
      this.broken.storage
    )
    return tab
  }

  fail(promise: string): void {
    this.#violations.push(promise)
  }

  #decide(): Fate {
    return this.#fates[this.#sent++ % Math.max(1, this.#fates.length)] ?? {}
  }

  /** What must hold of each request when it is sent. */
  #inspect({ tab, path, body, authorization }: Sent): void {
    const { world } = this
    if (path === '/orders') {
      const { exp } = readToken(String(authorization).slice('Bearer '.length))
      const isExpired = world.clock.time / 1000 >= Number(exp) + 1
      if (isExpired && !this.hasUnknownAge) this.fail('R4: no request has a token that has expired')
      if (tab.client.state === 'loggedOut') this.fail('R7: no request after a logout')
    }
    if (path !== refreshPath) return
    if (world.sent.some((each) => each !== world.sent.at(-1) && each.tab === tab && each.path === path && each.isOpen))
      this.fail('R1: one refresh at a time')
    const { stored } = world
    const presented = readToken(body.refresh ?? '')
    const newest = readToken(stored?.refresh ?? '')
    // An asynchronous storage may have been read a moment ago.
    const isOld = presented.sid === newest.sid && Number(presented.gen) < Number(newest.gen)
    if (isOld && world.storage === 'synchronous') this.fail('R2: the newest token is presented')
    if (this.#mustWait(tab)) this.fail('R5: Retry-After is respected')
  }

  /** Whether the service has asked this tab for patience. A login or a logout begins again, in all tabs. */
  #mustWait(tab: Tab): boolean {
    const { sent, calls, clock } = this.world
    const isOfTab = (each: { readonly tab: Tab }) => each.tab === tab
    const answered = sent.filter((each) => isOfTab(each) && each.path === refreshPath && each.answeredAt !== undefined)
    const { reply, answeredAt = 0 } = answered.at(-1) ?? {}
    const hasBegunAgain = calls.some(({ name, endedAt = clock.time }) => /^log/.test(name) && endedAt >= answeredAt)
    return !hasBegunAgain && clock.time < answeredAt + 1000 * Number(reply?.headers?.['retry-after'] ?? 0)
  }

  async apply(step: Command): Promise<void> {
    const { world } = this
    if (step.do === 'pass') return world.pass(step.ms)
    if (step.do === 'network') {
      this.#fates = step.fates
      this.#sent = 0
    } else if (step.do === 'jump') {
      world.clock.wall += step.ms
      this.hasUnknownAge = true
    } else if (step.do === 'end') {
      for (const sid of world.service.sessions.keys()) world.service.end(sid, 'an operator')
    } else if ('tab' in step) await this.#applyToTab(step)
  }

  async #applyToTab({ do: name, tab: index }: TabCommand): Promise<void> {
    const tab = this.open[index] as Tab
    if (name === 'freeze') {
      this.hasUnknownAge ||= this.world.calls.some((call) => call.tab === tab && call.name === 'login' && !call.outcome)
      return tab.freeze()
    }
    if (name === 'thaw') return tab.thaw()
    if (name === 'replace') {
      tab.kill()
      this.open[index] = this.#openTab()
      return
    }
    // The code of a frozen tab does not run.
    if (!tab.isFrozen) tab.call(name, calls[name])
    await this.world.pass(0)
  }

  /** The network works again and all tabs are awake: then everything must come to the same end. */
  async conclude(): Promise<readonly string[]> {
    const { world } = this
    this.#fates = []
    for (const tab of this.open) tab.thaw()
    await world.pass(2 * timeoutMs + 61_000)
    this.#checkCalls()
    this.#checkSessions()
    await this.#checkTabs()
    for (const tab of world.tabs) tab.client.close()
    await world.pass(0)
    if ([...world.clock.timers].some(({ isOwn }) => isOwn)) this.fail('R9: no timer is left')
    if (this.open.some(({ listeners }) => listeners.size > 0)) this.fail('R9: no subscription is left')
    return this.#violations
  }

  #checkCalls(): void {
    for (const { tab, outcome, endedAt, startedAt, name } of this.world.calls) {
      if (tab.isKilled) continue
      if (outcome === undefined) this.fail(`R8: ${name} settles`)
      else if ((endedAt ?? 0) - startedAt > timeoutMs && tab.frozenFor() === 0) this.fail(`R8: ${name} settles in time`)
    }
  }

  #checkSessions(): void {
    const { world } = this
    if (world.service.verdicts.includes('reused')) this.fail('R2: no token is taken for a stolen one')
    world.history.forEach((session, index) => {
      const before = world.history[index - 1]
      if (world.storage !== 'plain' && before && session && isOlder(session, before))
        this.fail('R3: no older session is saved over a newer one')
    })
    // In a plain storage it is the tab with the newest session that saves it again, if it still runs.
    const isKnown = world.storage !== 'plain' || !world.tabs.some(({ isKilled }) => isKilled)
    if (isKnown && world.history.some((session) => session && world.stored && isOlder(world.stored, session)))
      this.fail('R3: the newest session stays')
    for (const { since, refresh } of world.history.filter(
      (each) => each !== undefined && each.ended === 1
    ) as Session[]) {
      const isConfirmed = world.history.some((each) => each?.since === since && each.ended === 2)
      if (isConfirmed && world.service.sessions.get(String(readToken(refresh ?? '').sid))?.hasEnded === false)
        this.fail('R7: a logout is confirmed by the service')
    }
    for (const ended of world.history.filter((each) => each?.ended === 2)) {
      // A logout has a time of its own; a session that ended otherwise keeps that of its login.
      const tokens = world.history.filter((each) => each?.ended === 0 && each.since === ended?.since).at(-1)
      const { sid } = readToken(tokens?.refresh ?? '')
      if (world.service.sessions.get(String(sid))?.hasEnded === false)
        this.fail('R6: only the end of a session logs out')
    }
  }

  /** A call in each tab: it works while the session lives, and is refused with LoggedOut otherwise. */
  async #checkTabs(): Promise<void> {
    const { world } = this
    // Unknown: its first call has timed out while the tab was frozen.
    const states = this.open
      .map(({ client, listeners }) => (listeners.size > 0 ? client.state : 'unknown'))
      .filter((state) => state !== 'unknown')
    if (new Set(states).size > 1) this.fail(`R7: all tabs know of a login and a logout: ${states}`)
    const probes = this.open.map((tab) => tab.call('fetch', calls.fetch))
    await world.pass(timeoutMs)
    const { sid } = readToken(world.stored?.refresh ?? '')
    const isAlive = world.stored?.ended === 0 && world.service.sessions.get(String(sid))?.hasEnded === false
    for (const { outcome } of probes) {
      if (isAlive && outcome !== 'resolved') this.fail(`R5: a session that is alive works again: ${outcome}`)
      if (!isAlive && !(outcome instanceof LoggedOut))
        this.fail(`R6: a session that has ended is reported as LoggedOut: ${outcome}`)
    }
    await world.pass(timeoutMs)
  }
}

const calls = {
  fetch: (client: Client) => client.fetch('https://api.example/orders'),
  token: (client: Client) => client.getAccessToken(),
  login: (client: Client) => client.login('vitor', 'correct horse'),
  logout: (client: Client) => client.logout()
} as const

const isOlder = (a: Session, b: Session): boolean =>
  a.since < b.since ||
  (a.since === b.since &&
    (a.ended < b.ended ||
      (a.ended === 0 && Number(readToken(a.refresh ?? '').gen) < Number(readToken(b.refresh ?? '').gen))))

/** Plays one history and returns the promises that it has broken. */
export async function play(commands: readonly Command[], broken: Broken = {}): Promise<readonly string[]> {
  const history = new History(broken)
  await history.apply({ do: 'login', tab: 0 })
  await history.world.pass(1000)
  for (const command of commands) await history.apply(command)
  return history.conclude()
}

export interface Found {
  readonly runs: number
  readonly seed: number
  /** The shortest history that was found, with what it breaks. */
  readonly history?: readonly Command[]
  readonly violations?: readonly string[]
}

/** Plays so many histories, or fewer if one breaks a promise. */
export async function playMany(
  options: Pick<fc.Parameters, 'numRuns' | 'seed' | 'endOnFailure'>,
  broken: Broken = {}
): Promise<Found> {
  let violations: readonly string[] = []
  const property = fc.asyncProperty(histories, async (commands) => {
    const found = await play(commands, broken)
    if (found.length > 0) violations = found
    return found.length === 0
  })
  const { numRuns: runs, seed, counterexample } = await fc.check(property, options as fc.Parameters<[Command[]]>)
  if (counterexample === null) return { runs, seed }
  return { runs, seed, history: counterexample[0], violations }
}
