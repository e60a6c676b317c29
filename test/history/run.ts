/**
 * A randomised history of sessions: many clients, a real Redis, a bad network between them and a power cut or two. All that
 * was asked and answered is recorded and then checked against the invariants of the sessions (invariants.ts, keyspace.ts).
 *
 *   clients.ts      what clients do: refresh, retry, wake up in ten tabs, steal, log out
 *   world.ts        what their requests pass: the real store, test/support/proxy.ts, a private Redis that fsyncs each write
 *   history.ts      what is recorded
 *   invariants.ts   invariants 1, 2, 3 and 5, read off one session's history
 *   keyspace.ts     invariant 4, read off Redis
 *   delays.ts       one session after another on a manual clock, with delays of up to a day
 *   replay.ts       whether decide() could have given these answers, in any order and at any second that was possible
 *
 * The scripts run as they are but for their clock, which is a key that is stepped here (clock.ts): the second at which a script
 * ran is mostly known exactly and never wrongly, and no test sleeps through a grace. It is stepped beside the operations that are
 * under way, but waits for one that takes long, so that a client that retries at once is within its grace however slow the
 * machine is.
 *
 * KEYTURN_HISTORY_SEED=... npm run history   makes the choices of that run again. Which of two requests Redis reads first is not
 * chosen here, so what comes of them may differ; a fault that took luck may take a few runs.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { aPolicy } from '../support/makers.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { check } from './check.ts'
import { type Choices, makeChoices } from './choices.ts'
import { live, type Stage } from './clients.ts'
import { openForDelays } from './delay-stores.ts'
import { expectations, playDelays } from './delays.ts'
import { makeRecorder, type Operation, type Recorder, untilAllPass } from './history.ts'
import type { Violation } from './invariants.ts'
import { countOutcomes, countTimes, describe } from './report.ts'
import { type Disturbance, disturb, type Fault, openWorld, restart, type World } from './world.ts'

export interface HistoryOptions {
  readonly seed: string
  readonly clients: number
  /** How many operations are answered before the end: those under way then, errors and a last look at each session are more. */
  readonly operations: number
  /** How often Redis is killed and started again on the way; if ever, then once more before the end. */
  readonly restarts: number
  /** How often a connection hangs for longer than a command waits: over two seconds each. */
  readonly hangs: number
  readonly fault?: Fault
}

export interface HistoryResult {
  readonly violations: readonly Violation[]
  readonly operations: readonly Operation[]
  readonly counts: Readonly<Record<string, number>>
  readonly seconds: number
}

/** Short lives, so that many sessions of one run meet their ends. */
export const historyPolicy = aPolicy({ grace: 10, lateRetry: 25, lifetime: 40, absoluteLifetime: 100, maxPerUser: 2 })

/** As many as an ordinary deployment has workers. */
const workerCount = 6

/** Plays a history on a private Redis and checks it. */
export async function playHistory(server: RedisServer, options: HistoryOptions): Promise<HistoryResult> {
  const began = Date.now()
  const choices = makeChoices(options.seed)
  const world = await openWorld(server, historyPolicy, workerCount, choices.fork('network'), options.fault)
  try {
    const recorder = makeRecorder(world.clock)
    const disturbed = await play(world, recorder, options, choices)
    if (options.restarts > 0) await restart(world)
    await Promise.all(world.workers.map(untilAllPass))
    await lookOnceMore(world, recorder)
    const operations = recorder.operations()
    return {
      violations: await check(world, operations, historyPolicy),
      operations,
      counts: { ...countOutcomes(operations), ...countTimes(operations, historyPolicy), ...disturbed },
      seconds: (Date.now() - began) / 1000
    }
  } finally {
    await world.close()
  }
}

/** Milliseconds between two steps of the clock, when nothing holds it up: some 400 operations a second. */
const tick = (clients: number): number => clients / 5
/** Seconds that the clock may run ahead of an operation whose client waits: a retry, and another, still come within the grace. */
const lead = 4
/** And of one whose client has given up: longer than the grace, so that it does harm if it still happens then. */
const longLead = 30

async function play(
  world: World,
  recorder: Recorder,
  options: HistoryOptions,
  choices: Choices
): Promise<Record<string, number>> {
  const { clock, workers } = world
  const { grace, lateRetry, lifetime } = historyPolicy
  const isOver = () => recorder.count() >= options.operations
  const stage: Stage = { recorder, clock, workers, grace, lateRetry, lifetime, isOver }
  const clients = Array.from({ length: options.clients }, (_, number) => live(number, stage, choices))
  const pending = planDisturbances(options, choices.fork('plan'))
  const counts: Record<string, number> = {}
  const disturbing: Promise<void>[] = []
  while (!isOver()) {
    await sleep(tick(options.clients))
    const limit = Math.min(recorder.oldestWaiting() + lead, recorder.oldestOpen() + longLead)
    if (clock.latest() < limit) await clock.step()
    for (let next = pending[0]; next !== undefined && next.at <= recorder.count(); next = pending[0]) {
      pending.shift()
      counts[next.kind] = (counts[next.kind] ?? 0) + 1
      disturbing.push(disturb(next.kind, world, choices.fork(`disturbance ${pending.length}`)))
    }
  }
  clock.stop()
  await Promise.all([...clients, ...disturbing])
  world.calm()
  await recorder.settled()
  return counts
}

/** What happens when so many operations have been answered. */
function planDisturbances({ operations, restarts, hangs }: HistoryOptions, choices: Choices) {
  const spread = (kind: Disturbance, count: number) =>
    Array.from({ length: count }, (_, index) => ({
      kind,
      at: Math.floor(((index + 0.3 + choices.between(0, 40) / 100) * operations) / count)
    }))
  const plan = [
    ...spread('Redis restarted', restarts),
    ...spread('a connection hangs', hangs),
    ...spread('answers lost', Math.ceil(operations / 200)),
    ...spread('connection cut', Math.ceil(operations / 400)),
    ...spread('all connections cut', Math.ceil(operations / 2000)),
    ...spread('all connections killed by Redis', Math.ceil(operations / 2000)),
    ...spread('scripts forgotten', Math.ceil(operations / 500))
  ]
  return plan.sort((a, b) => a.at - b.at)
}

/** Who presents every session's newest token at the end. */
export const lastLook = 'the last look'

/** Every session's newest token is presented again, in any case: what has ended must stay ended, after a restart too. */
async function lookOnceMore(world: World, recorder: Recorder): Promise<void> {
  const newest = new Map<string, { userId: string; sid: string; generation: number }>()
  for (const { command, outcome } of recorder.operations()) {
    if (outcome.kind === 'started') newest.set(outcome.session.sid, outcome.session)
    if (command.kind !== 'rotate' || outcome.kind !== 'verdict' || !('newest' in outcome.verdict)) continue
    const { userId, sid } = command
    const { number: generation } = outcome.verdict.newest
    if (generation > (newest.get(sid)?.generation ?? -1)) newest.set(sid, { userId, sid, generation })
  }
  const tokens = [...newest.values()]
  while (tokens.length > 0) {
    const some = tokens.splice(0, 100)
    await Promise.all(
      some.map(({ userId, sid, generation }, index) => {
        const worker = world.workers[index % world.workers.length]!
        return recorder.run(lastLook, worker, { kind: 'rotate', userId, sid, generation })
      })
    )
  }
  await recorder.settled()
}

/** The seed that the environment asks for, or a new one. */
export const chooseSeed = (): string => process.env.KEYTURN_HISTORY_SEED ?? randomBytes(4).toString('hex')

/** What went wrong, for a person: the first few violations, each with its session's history. */
export function describeViolations({ violations }: HistoryResult, seed: string): string {
  if (violations.length === 0) return 'no invariant broken'
  return [
    `${violations.length} violations, KEYTURN_HISTORY_SEED=${seed}`,
    ...violations.slice(0, 5).map(describe)
  ].join('\n')
}

/** `npm run history -- --sessions 100000 [--store redis]`: long delays on a manual clock (delays.ts), and a table of what came of them. */
async function mainOfDelays(sessions: number, store: string): Promise<void> {
  const seed = chooseSeed()
  console.log(`KEYTURN_HISTORY_SEED=${seed}: ${sessions} sessions, store: ${store}`)
  const { opened, close } = await openForDelays(store)
  try {
    const results = await playDelays(opened, { seed, sessions })
    for (const { story, sessions, asExpected, late, violations } of results) {
      const share = ((100 * asExpected) / sessions).toFixed(2)
      console.log(`${expectations[story]}: ${asExpected} of ${sessions} (${share} %)`)
      console.log(`  late retries granted: ${late}; answers that differ from the table: ${violations.length}`)
    }
    for (const violation of results.flatMap(({ violations }) => violations)) console.log(violation)
    if (results.some(({ violations }) => violations.length > 0)) process.exitCode = 1
  } finally {
    await close()
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { sessions: { type: 'string' }, store: { type: 'string', default: 'memory' } }
  })
  if (values.sessions !== undefined) return await mainOfDelays(Number(values.sessions), values.store)
  const seed = chooseSeed()
  const options = {
    clients: Number(process.env.KEYTURN_HISTORY_CLIENTS ?? 200),
    operations: Number(process.env.KEYTURN_HISTORY_OPERATIONS ?? 20_000),
    restarts: 2,
    hangs: 3
  }
  console.log(`KEYTURN_HISTORY_SEED=${seed}: ${options.clients} clients, ${options.operations} operations`)
  const server = await startRedis({ tcp: true, appendonly: true })
  try {
    const result = await playHistory(server, { seed, ...options })
    console.log(result.counts)
    console.log(`${result.operations.length} operations in ${result.seconds.toFixed(1)} s`)
    console.log(describeViolations(result, seed))
    if (result.violations.length > 0) process.exitCode = 1
  } finally {
    await server.stop()
  }
}

if (process.argv[1]?.endsWith('/history/run.js')) await main()
