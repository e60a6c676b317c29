import { setTimeout as sleep } from 'node:timers/promises'
import type { PresentedGeneration } from '../../src/sessions/store.ts'
import type { Choices } from './choices.ts'
import type { SteppedClock } from './clock.ts'
import type { Command, Outcome, Recorder, Worker } from './history.ts'

/** What all clients share. */
export interface Stage {
  readonly recorder: Recorder
  readonly clock: SteppedClock
  readonly workers: readonly Worker[]
  readonly grace: number
  readonly lateRetry: number
  readonly lifetime: number
  isOver(): boolean
}

/** A browser, for example: tabs that share one storage, and a thief who has read an old token from it. */
interface Client {
  readonly name: string
  readonly userId: string
  readonly choices: Choices
  /** The token that the tabs share; undefined when logged out. */
  token: PresentedGeneration | undefined
  /** Every token it has ever held, newest last. */
  readonly held: PresentedGeneration[]
}

type Habit = (client: Client, stage: Stage) => Promise<void>

/** Lives as clients do until the stage is over: the same choices for the same seed, whatever becomes of them. */
export async function live(number: number, stage: Stage, seed: Choices): Promise<void> {
  const client: Client = {
    name: `client ${number}`,
    // Two clients a user, so that one may log the other out.
    userId: `user-${Math.floor(number / 2)}`,
    choices: seed.fork(`client ${number}`),
    token: undefined,
    held: []
  }
  await wait(client, stage, 0, 2 * stage.grace)
  while (!stage.isOver()) {
    const habit = client.choices.weigh(habits)
    if (client.token === undefined) await logIn(client, stage)
    else await habit(client, stage)
  }
}

const habits: readonly (readonly [weight: number, habit: Habit])[] = [
  [30, refreshNowAndThen],
  [10, (client, stage) => refreshInTabs(client, stage, 2)],
  [6, (client, stage) => refreshInTabs(client, stage, 10)],
  [6, refreshInABurst],
  [3, refreshTooOften],
  [3, presentAgainAndAgain],
  [6, presentAtTheLastMoment],
  [6, loseAnAnswerForLong],
  [3, shadow],
  [3, presentOldToken],
  [2, presentForgottenToken],
  [6, logOut],
  [1, logOutElsewhere],
  [1, (client, stage) => wait(client, stage, stage.lifetime - 2, stage.lifetime + 2)]
]

/* Habits */

async function logIn(client: Client, stage: Stage): Promise<void> {
  const outcome = await run(client, stage, { kind: 'start', userId: client.userId })
  if (outcome.kind === 'started') {
    const { userId, sid, generation } = outcome.session
    keep(client, { userId, sid, generation })
  }
  await wait(client, stage, 0, stage.grace)
}

/** As a single page does it, all day. */
async function refreshNowAndThen(client: Client, stage: Stage): Promise<void> {
  await refresh(client, stage)
  await wait(client, stage, 1, 3 * stage.grace)
}

/** All wake up at once; some read the storage late and find the token of a faster one. */
async function refreshInTabs(client: Client, stage: Stage, tabs: number): Promise<void> {
  const delays = Array.from({ length: tabs }, () => client.choices.pick([0, 0, 0, 2, 5, 10]) ?? 0)
  await Promise.all(
    delays.map(async (delay) => {
      await sleep(delay)
      await refresh(client, stage)
    })
  )
  await wait(client, stage, stage.grace + 1, 3 * stage.grace)
}

/** Tabs that chain within moments, and one that still has the first token of the chain. */
async function refreshInABurst(client: Client, stage: Stage): Promise<void> {
  await wait(client, stage, stage.grace + 1, stage.grace + 3)
  const first = client.token
  for (let round = client.choices.between(2, 4); round > 0; round--) await refresh(client, stage)
  await wait(client, stage, 0, stage.grace)
  if (first !== undefined) await refreshWith(client, stage, first)
  await wait(client, stage, 0, 2 * stage.grace)
}

/** Rotates on and on within the grace, while its first token is presented beside it: that must end, all the same. */
async function refreshTooOften(client: Client, stage: Stage): Promise<void> {
  const first = client.token
  for (let round = 0; round < 6 && client.token !== undefined; round++) {
    await refresh(client, stage)
    await wait(client, stage, 2, stage.grace / 2)
    if (first !== undefined && client.choices.chance(0.7)) await refreshWith(client, stage, first)
  }
}

/** The token just superseded, from time to time, for longer than the grace. */
async function presentAgainAndAgain(client: Client, stage: Stage): Promise<void> {
  const old = client.token
  await refresh(client, stage)
  for (let round = 0; round < 4 && old !== undefined; round++) {
    await wait(client, stage, 2, stage.grace / 2)
    await present(client, stage, old)
  }
}

/** The token just superseded, in the last second of the grace or in the first after it. */
async function presentAtTheLastMoment(client: Client, stage: Stage): Promise<void> {
  const old = client.token
  if (old === undefined) return
  const outcome = await present(client, stage, old)
  if (outcome.kind !== 'verdict' || !('newest' in outcome.verdict)) return
  await stage.clock.until(outcome.verdict.newest.issuedAt + stage.grace + client.choices.between(0, 1))
  await stage.clock.standStill(() => present(client, stage, old))
}

/** An answer is lost, and the client retries long after the grace, or a second too late for a late retry. */
async function loseAnAnswerForLong(client: Client, stage: Stage): Promise<void> {
  const old = client.token
  if (old === undefined) return
  await run(client, stage, { kind: 'rotate', ...old })
  await wait(client, stage, stage.grace + 1, stage.lateRetry + 1)
  await refreshWith(client, stage, old)
  await wait(client, stage, 0, stage.grace)
  await refresh(client, stage)
}

/** A thief's: it follows the owner, each time with the token that the owner has just used. */
async function shadow(client: Client, stage: Stage): Promise<void> {
  for (let step = 0; step < 2; step++) {
    const stolen = client.token
    if (stolen === undefined) return
    await refresh(client, stage)
    await wait(client, stage, stage.grace + 1, 2 * stage.grace)
    await present(client, stage, stolen)
  }
}

/** A thief's: a token superseded at some time, mostly longer ago than the grace. Then the owner comes. */
async function presentOldToken(client: Client, stage: Stage): Promise<void> {
  await refresh(client, stage)
  await wait(client, stage, 0, 2 * stage.grace)
  const ofSession = client.held.filter(({ sid }) => sid === client.token?.sid).slice(-6, -1)
  const old = client.choices.pick(ofSession)
  if (old !== undefined) await present(client, stage, old)
  await refresh(client, stage)
}

/** Any token that it has ever held, of sessions that are over too. */
async function presentForgottenToken(client: Client, stage: Stage): Promise<void> {
  const old = client.choices.pick(client.held)
  if (old !== undefined) await present(client, stage, old)
}

/** Tabs may be refreshing meanwhile, and one comes later with what it still has. */
async function logOut(client: Client, stage: Stage): Promise<void> {
  const { token } = client
  if (token === undefined) return
  const racing = [0, 1, 2, 3].slice(client.choices.between(0, 4)).map(async (delay) => {
    await sleep(delay)
    await refreshWith(client, stage, token)
  })
  const late = client.choices.chance(0.5)
  await sleep(client.choices.between(0, 4))
  for (let attempt = 0; attempt < 3; attempt++) {
    const { userId, sid } = token
    const outcome = await run(client, stage, { kind: 'revoke', userId, sid })
    if (outcome.kind !== 'failed') break
    await sleep(40 * 2 ** attempt)
  }
  await Promise.all(racing)
  const newest = client.held.findLast(({ sid }) => sid === token.sid) ?? token
  await present(client, stage, newest)
  if (late) await wait(client, stage, 0, 2 * stage.grace)
  if (late) await present(client, stage, newest)
  client.token = undefined
}

/** Ends all sessions of the user but its own: the other client of that user finds itself logged out. */
async function logOutElsewhere(client: Client, stage: Stage): Promise<void> {
  const kept = client.choices.chance(0.7) ? (client.token?.sid ?? '') : ''
  await run(client, stage, { kind: 'revokeAll', userId: client.userId, kept })
}

/* What habits are made of */

/** Refreshes with the token in the storage. */
async function refresh(client: Client, stage: Stage): Promise<void> {
  if (client.token !== undefined) await refreshWith(client, stage, client.token)
}

/** Presents a token until there is an answer, and acts on it as a client does. */
async function refreshWith(client: Client, stage: Stage, token: PresentedGeneration): Promise<void> {
  for (let attempt = 0; attempt < 4 && !stage.isOver(); attempt++) {
    const outcome = await present(client, stage, token)
    if (outcome.kind === 'verdict') {
      if (!('newest' in outcome.verdict)) forget(client, token)
      return
    }
    await sleep(40 * 2 ** attempt)
  }
}

async function present(client: Client, stage: Stage, token: PresentedGeneration): Promise<Outcome> {
  const outcome = await run(client, stage, { kind: 'rotate', ...token })
  if (outcome.kind === 'verdict' && 'newest' in outcome.verdict) {
    keep(client, { ...token, generation: outcome.verdict.newest.number })
  }
  return outcome
}

async function run(client: Client, stage: Stage, command: Command): Promise<Outcome> {
  const worker = client.choices.pick(stage.workers)!
  return await stage.recorder.run(client.name, worker, command)
}

/** A straggler's answer does not take the place of a newer token, nor of another session's. */
function keep(client: Client, token: PresentedGeneration): void {
  if (client.held.some(({ sid, generation }) => sid === token.sid && generation === token.generation)) return
  client.held.push(token)
  const { token: current } = client
  if (current === undefined || (current.sid === token.sid && current.generation < token.generation)) {
    client.token = token
  }
}

function forget(client: Client, refused: PresentedGeneration): void {
  if (client.token?.sid === refused.sid) client.token = undefined
}

/** Seconds of the stepped clock. */
async function wait({ choices }: Client, { clock }: Stage, least: number, most: number): Promise<void> {
  await clock.until(clock.earliest() + choices.between(least, most))
}
