/**
 * Sessions whose clients lose answers and retry after anything from 0 s to 24 h of a manual clock, with thieves beside them. Each
 * answer is compared with the table of verdicts in docs/sessions.md, written out again here, and before each refresh `verify` is
 * asked what it would answer. What run.ts finds by many requests at once, this finds by long delays.
 */
import { decide } from '../../src/sessions/rotation.ts'
import { newestGeneration, type Session, type SessionPolicy } from '../../src/sessions/session.ts'
import type { OpenedSessions } from '../conformance/sessions.ts'
import { aDevice, aPolicy } from '../support/makers.ts'
import { type Choices, makeChoices } from './choices.ts'

const [minute, hour, day] = [60, 3600, 86_400]

/** A refresh lifetime above a day, so that a token retried after 24 h has not expired. */
export const delayPolicy = aPolicy({ lifetime: 2 * day, lateRetry: day })

/** Between two late retries, in rotations. */
const spacing = 8

/** What a refresh answers, with what `verify` answered just before. */
type Kind = 'rotated' | 'retried' | 'late' | 'reused' | 'unknown'

/** One session, and the table of verdicts applied to it. */
class Chain {
  /** Of this session: what the store answered against the table. */
  readonly violations: string[] = []
  /** Late retries that were granted. */
  late = 0
  #newest = 0
  #isOver = false
  #lateGeneration: number | undefined
  /** When the grace of each superseded generation began. */
  readonly #graceFrom: number[] = []
  #lateAt = 0
  readonly #supersededAt: number[] = []
  readonly #opened: OpenedSessions
  readonly #verifyPolicy: SessionPolicy
  #session: Session

  constructor(opened: OpenedSessions, session: Session, verifyPolicy: SessionPolicy) {
    this.#opened = opened
    this.#session = session
    this.#verifyPolicy = verifyPolicy
  }

  get newest(): number {
    return this.#newest
  }

  wait(seconds: number): Promise<void> {
    return this.#opened.advance(seconds)
  }

  /** What `verify` answers: whether a refresh would hand out a token. It must change nothing. */
  async verify(generation: number): Promise<boolean> {
    const before = await this.#find()
    const isValid = 'newest' in decide(before, generation, this.#opened.now(), this.#verifyPolicy).verdict
    const expected = this.#expect(generation)
    if (isValid !== (expected !== 'reused' && expected !== 'unknown'))
      this.#broken(`verify answered ${isValid} for generation ${generation}, a refresh would be ${expected}`)
    return isValid
  }

  /** Presents a generation for a refresh, and compares the answer with the table. */
  async present(generation: number): Promise<Kind> {
    const { userId, sid } = this.#session
    const expected = this.#expect(generation)
    await this.verify(generation)
    const verdict = await this.#opened.store.rotate({ userId, sid, generation })
    if (verdict.kind !== expected) this.#broken(`generation ${generation} was ${verdict.kind}, expected ${expected}`)
    this.#apply(expected, generation)
    if ('newest' in verdict) this.#compare(verdict.newest.number, verdict.newest.issuedAt, verdict.newest.expiresAt)
    return verdict.kind as Kind
  }

  #expect(generation: number): Kind {
    const now = this.#opened.now()
    if (this.#isOver || now >= newestGeneration(this.#session).expiresAt) return 'unknown'
    if (generation === this.#newest) return 'rotated'
    const since = now - (this.#supersededAt[generation] ?? Number.NEGATIVE_INFINITY)
    if (now - (this.#graceFrom[generation] ?? Number.NEGATIVE_INFINITY) <= delayPolicy.grace) return 'retried'
    const rested = this.#lateGeneration === undefined || this.#newest - this.#lateGeneration >= spacing
    const isAllowed = rested || this.#lateGeneration === this.#newest
    return generation === this.#newest - 1 && since <= delayPolicy.lateRetry && isAllowed ? 'late' : 'reused'
  }

  #apply(kind: Kind, generation: number): void {
    const now = this.#opened.now()
    if (kind === 'reused') this.#isOver = true
    if (kind === 'late') {
      this.late += 1
      this.#lateGeneration = this.#newest
      this.#lateAt = now
    }
    if (kind !== 'rotated') return
    this.#supersededAt[generation] = now
    this.#graceFrom[generation] = now
    if (this.#lateGeneration === generation) this.#graceFrom[generation - 1] = this.#lateAt
    this.#newest = generation + 1
    const expiresAt = Math.min(now + delayPolicy.lifetime, this.#session.absoluteExp)
    this.#session = { ...this.#session, generation: this.#newest, rotatedAt: now, expiresAt }
  }

  /** There is one successor, always with the same issue time and expiry, and so the same string. */
  #compare(...got: readonly number[]): void {
    const { number, issuedAt, expiresAt } = newestGeneration(this.#session)
    if (String(got) !== String([number, issuedAt, expiresAt]))
      this.#broken(`generation ${got.join()} was handed out, expected ${[number, issuedAt, expiresAt].join()}`)
  }

  #find(): Promise<Session | undefined> {
    return this.#opened.store.find(this.#session.userId, this.#session.sid)
  }

  #broken(what: string): void {
    this.violations.push(`${this.#session.sid}: ${what}`)
  }
}

/** What became of one session: whether it is as the row of the table says. */
type Story = (chain: Chain, choices: Choices) => Promise<boolean>

/** From 11 s to a day, as many short ones as long ones. */
const delay = (choices: Choices): number => Math.floor(11 * (day / 11) ** (choices.between(0, 1000) / 1000))
const pause = (choices: Choices): number => choices.between(minute, hour)

/** The client refreshes; now and then its answer is lost, and it retries with the same token, perhaps more than once. */
async function refreshLosing(chain: Chain, choices: Choices, isLost: boolean): Promise<boolean> {
  const token = chain.newest
  const kinds = [await chain.present(token)]
  if (isLost) {
    await chain.wait(delay(choices))
    for (let retries = choices.between(1, 2); retries > 0; retries--) kinds.push(await chain.present(token))
  }
  await chain.wait(pause(choices))
  return !kinds.includes('reused') && !kinds.includes('unknown')
}

/** 30 % of the answers are lost, at most one in eight rotations: the client is never logged out. */
const honest: Story = async (chain, choices) => {
  let lastLost = Number.NEGATIVE_INFINITY
  for (let rotation = 0; rotation < 20; rotation++) {
    const isLost = rotation - lastLost >= spacing && choices.chance(0.3)
    if (isLost) lastLost = rotation
    if (!(await refreshLosing(chain, choices, isLost))) return false
  }
  return true
}

/** The same within the grace, several times, whenever: no late retry is needed. */
const impatient: Story = async (chain, choices) => {
  for (let rotation = 0; rotation < 10; rotation++) {
    const token = chain.newest
    await chain.present(token)
    for (const wait of [choices.between(0, 5), choices.between(0, 5)]) {
      await chain.wait(wait)
      if ((await chain.present(token)) !== 'retried') return false
    }
    await chain.wait(pause(choices))
  }
  return true
}

const isEnded = async (chain: Chain): Promise<boolean> =>
  (await chain.present(chain.newest)) === 'unknown' && (await chain.present(0)) === 'unknown'

/** A token whose successor was presented comes back after the grace: the session ends. */
const ancestor: Story = async (chain, choices) => {
  for (let rotation = choices.between(2, 12); rotation > 0; rotation--)
    await refreshLosing(chain, choices, rotation === 5 && choices.chance(0.5))
  await chain.wait(11)
  return (await chain.present(choices.between(0, chain.newest - 2))) === 'reused' && (await isEnded(chain))
}

/** A client comes back a second too late: after more than REFRESH_LATE_RETRY its session ends. */
const tooLate: Story = async (chain, choices) => {
  for (let rotation = choices.between(0, 3); rotation > 0; rotation--) await refreshLosing(chain, choices, false)
  const token = chain.newest
  await chain.present(token)
  await chain.wait(delayPolicy.lateRetry)
  if ((await chain.present(token)) !== 'late') return false
  await chain.wait(1)
  return (await chain.present(token)) === 'reused' && (await isEnded(chain))
}

/** Polls `verify` for the moment at which its token is superseded, until `seconds` have passed: true when it is no longer valid. */
async function poll(chain: Chain, choices: Choices, generation: number, seconds: number): Promise<boolean> {
  for (let waited = 0; waited < seconds; ) {
    if (!(await chain.verify(generation))) return true
    const step = Math.min(choices.between(1, Math.ceil(seconds / 4)), seconds - waited)
    waited += step
    await chain.wait(step)
  }
  return false
}

/**
 * A thief has the owner's token, old (superseded, its successor not presented yet) or new, and follows: one of the two gets a
 * late retry. Both then have the same successor, one presents it first, and the other one's next refresh is the second late retry.
 */
const shadow: Story = async (chain, choices) => {
  for (let rotation = choices.between(0, 10); rotation > 0; rotation--) await refreshLosing(chain, choices, false)
  for (let step = 1; step <= 2; step++) {
    const stolen = chain.newest
    await chain.present(stolen)
    await poll(chain, choices, stolen, delay(choices))
    const kind = await chain.present(stolen)
    if (step === 1 && kind !== 'late') return false
    if (step === 2 && kind !== 'reused') return false
    await chain.wait(11)
    // The thief is silent for a few refreshes of the owner, but not for eight.
    const silent = step === 1 ? choices.pick([0, choices.between(1, spacing - 3), spacing - 2])! : 0
    for (let rotation = 0; rotation < silent; rotation++) await refreshLosing(chain, choices, false)
  }
  return chain.late === 1 && (await isEnded(chain))
}

/** A thief and an owner who present whatever they hold at any time: the table decides, and nothing but the table. */
const anyOrder: Story = async (chain, choices) => {
  for (let step = 0; step < 40; step++) {
    await chain.wait(choices.pick([0, 1, 5, 10, 11, pause(choices), delay(choices)]) ?? 0)
    const back = choices.weigh([
      [60, 0],
      [30, 1],
      [6, 2],
      [2, choices.between(3, 4)]
    ])
    if ((await chain.present(Math.max(0, chain.newest - back))) === 'unknown') break
  }
  return true
}

const stories = { shadow, anyOrder, ancestor, tooLate, impatient, honest } as const
export type StoryName = keyof typeof stories

/** What `asExpected` means of each. */
export const expectations: Readonly<Record<StoryName, string>> = {
  shadow: 'a thief who follows: ended at the second late retry',
  anyOrder: 'owner and thief in any order: as the table of verdicts',
  ancestor: 'an ancestor after its successor was presented: ended',
  tooLate: 'a second after REFRESH_LATE_RETRY: ended',
  impatient: 'retries within the grace: never logged out',
  honest: '30 % of answers lost, retried after 11 s to 24 h: never logged out'
}

export interface DelayResult {
  readonly story: StoryName
  readonly sessions: number
  /** Sessions that came out as their story says. */
  readonly asExpected: number
  readonly late: number
  readonly violations: readonly string[]
}

export interface DelayOptions {
  readonly seed: string
  readonly sessions: number
  /** The rules by which `verify` answers; those of a refresh unless a mutant has others. */
  readonly verifyPolicy?: SessionPolicy
}

/** A store with a fault has shown it by then. */
const violationsShown = 5

/** Plays one story with many sessions, one after the other. */
async function playStory(
  opened: OpenedSessions,
  story: StoryName,
  { seed, sessions, verifyPolicy = delayPolicy }: DelayOptions
): Promise<DelayResult> {
  const choices = makeChoices(`${seed}/${story}`)
  const violations: string[] = []
  let [asExpected, late] = [0, 0]
  for (let number = 0; number < sessions && violations.length < violationsShown; number++) {
    const { session } = await opened.store.start(`${story}-${number}`, aDevice)
    const chain = new Chain(opened, session, verifyPolicy)
    if (await stories[story](chain, choices)) asExpected += 1
    else violations.push(`${session.sid}: the story "${story}" came out otherwise`)
    violations.push(...chain.violations)
    late += chain.late
  }
  return { story, sessions, asExpected, late, violations }
}

/** All stories, until one finds a fault: `sessions` honest clients, and a quarter as many of each other kind. */
export async function playDelays(opened: OpenedSessions, options: DelayOptions): Promise<readonly DelayResult[]> {
  const results: DelayResult[] = []
  for (const story of Object.keys(stories) as StoryName[]) {
    const sessions = story === 'honest' ? options.sessions : Math.ceil(options.sessions / 4)
    const result = await playStory(opened, story, { ...options, sessions })
    results.push(result)
    if (result.violations.length > 0) break
  }
  return results
}
