/*
 * What is done to a running Keyturn and to its stores, one fault after the other under steady traffic, and what came of it.
 * docs/operations.md has the table that the long form makes.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Kind } from '../support/arbiter.ts'
import type { Report } from './clients.ts'
import { freezeAll, holdConnections } from './hands.ts'
import {
  type EmbeddedWorld,
  openEmbedded,
  openServers,
  openWatched,
  type ServersWorld,
  type WatchedWorld,
  type World
} from './worlds.ts'

interface Fault<Of extends World> {
  readonly name: string
  /** Makes it happen, and gives what ends it. */
  readonly begin: (world: Of) => Promise<() => unknown>
  /** How long it lasts, in seconds: in the long form, and in the short one where it is part of that. */
  readonly lasts: number
  readonly short?: number
  /** Sessions are lost by its nature. */
  readonly losesSessions?: boolean
  /** /health/ready says 503 while it lasts. */
  readonly unready?: boolean
}

export interface Outcome extends Report {
  readonly name: string
  /** Seconds from the end of the fault to the last request that failed, or waited for long. */
  readonly recovery: number
  readonly isUnready: boolean
}

const nothing = (): void => {}

const dies = (kind: Kind, signal: NodeJS.Signals) => async (world: World) => {
  world.keyturn.kill(kind, signal)
  return nothing
}

const clockSteps =
  (seconds: number) =>
  async ({ setClock }: World) => {
    await setClock(seconds)
    return () => setClock(0)
  }

const servers: readonly Fault<ServersWorld>[] = [
  { name: 'nothing (for comparison)', lasts: 3, begin: async () => nothing },
  {
    name: 'Redis killed, started again from its AOF',
    unready: true,
    lasts: 5,
    short: 1,
    async begin({ redis }) {
      await redis.kill()
      return () => redis.restart()
    }
  },
  {
    name: 'Redis hung (SIGSTOP)',
    lasts: 10,
    short: 2.2,
    async begin({ redis }) {
      await redis.kill('SIGSTOP')
      return () => redis.kill('SIGCONT')
    }
  },
  {
    name: 'Redis read-only (it has become a replica)',
    lasts: 5,
    short: 0.5,
    async begin({ admin }) {
      await admin.call('REPLICAOF', '127.0.0.1', '1')
      return () => admin.call('REPLICAOF', 'NO', 'ONE')
    }
  },
  {
    name: 'Redis out of memory (noeviction)',
    lasts: 5,
    async begin({ admin }) {
      await admin.config('SET', 'maxmemory', '1')
      return () => admin.config('SET', 'maxmemory', '0')
    }
  },
  {
    name: 'Redis forgets its scripts (SCRIPT FLUSH)',
    lasts: 1,
    short: 0.2,
    async begin({ admin }) {
      await admin.script('FLUSH')
      return nothing
    }
  },
  {
    name: 'PostgreSQL crashed, started again',
    unready: true,
    lasts: 5,
    short: 0.5,
    async begin({ postgres }) {
      await postgres.kill()
      return () => postgres.restart()
    }
  },
  { name: 'PostgreSQL restarted', lasts: 0, begin: async ({ postgres }) => postgres.restart().then(() => nothing) },
  {
    name: 'PostgreSQL hung (SIGSTOP to all of it)',
    lasts: 10,
    short: 2.2,
    begin: ({ postgres }) => freezeAll(postgres.url)
  },
  { name: 'PostgreSQL out of connections', lasts: 5, begin: ({ postgres }) => holdConnections(postgres.url) },
  { name: 'a worker killed', lasts: 0, short: 0, begin: dies('worker', 'SIGKILL') },
  { name: 'a worker hung (SIGSTOP; TIMEOUT=2)', lasts: 0, begin: dies('worker', 'SIGSTOP') },
  { name: 'a hasher killed', lasts: 0, short: 0, begin: dies('hasher', 'SIGKILL') },
  { name: "the clock of Keyturn's host an hour ahead", lasts: 3, begin: clockSteps(3600) },
  { name: "the clock of Keyturn's host an hour behind", lasts: 3, begin: clockSteps(-3600) },
  {
    name: 'Redis started again, empty',
    unready: true,
    lasts: 1,
    losesSessions: true,
    async begin({ redis, admin }) {
      await admin.flushall()
      await redis.kill()
      return () => redis.restart()
    }
  }
]

const stale: readonly Fault<ServersWorld>[] = [
  {
    name: 'Redis gone for longer than REVOCATION_STALENESS (2 s)',
    unready: true,
    lasts: 6,
    async begin({ redis }) {
      await redis.kill()
      return () => redis.restart()
    }
  }
]

const watched: readonly Fault<WatchedWorld>[] = [
  {
    name: 'Redis fails over (Sentinel; the master killed)',
    lasts: 0,
    async begin({ redis }) {
      await redis.kill()
      return nothing
    }
  }
]

const embedded: readonly Fault<EmbeddedWorld>[] = [
  { name: 'embedded: the disk full', lasts: 5, short: 1, begin: async (world) => world.fillDisk() },
  { name: 'embedded: the clock an hour ahead', lasts: 3, short: 0.5, begin: clockSteps(3600) },
  { name: 'embedded: the clock an hour behind', lasts: 3, begin: clockSteps(-3600) },
  { name: 'embedded: a worker killed', lasts: 0, begin: dies('worker', 'SIGKILL') }
]

/** Lets all faults of one installation happen, one after the other, and tells of each. */
type Suite = (form: 'short' | 'long', tell: (outcome: Outcome) => void) => Promise<void>

const suite =
  <Of extends World>(open: () => Promise<Of>, faults: readonly Fault<Of>[]): Suite =>
  async (form, tell) => {
    const chosen = faults.flatMap((fault) => {
      const seconds = form === 'long' ? fault.lasts : fault.short
      return seconds === undefined ? [] : [{ fault, seconds }]
    })
    if (chosen.length === 0) return
    const world = await open()
    try {
      for (const { fault, seconds } of chosen) tell(await inflict(world, fault, seconds, calm[form]))
    } finally {
      await world.close()
    }
  }

export const suites: Readonly<Record<string, Suite>> = {
  'PostgreSQL and Redis': suite(openServers, servers),
  'a short staleness': suite(() => openServers({ REVOCATION_STALENESS: '2s' }), stale),
  Sentinel: suite(openWatched, watched),
  'an embedded file': suite(openEmbedded, embedded)
}

/** How long nothing must fail, or wait, for all to be well again, and how long that may take. Milliseconds. */
const calm = { short: 700, long: 1500 }
const mostRecovery = 30_000

/** Lets it happen to a world with traffic, and waits until all is well. */
async function inflict<Of extends World>(
  world: Of,
  { name, begin, losesSessions = false, unready = false }: Fault<Of>,
  seconds: number,
  calm: number
): Promise<Outcome> {
  const { clients } = world
  clients.report()
  world.mayLose(losesSessions)
  const end = await begin(world)
  await delay(seconds * 1000)
  await end()
  const ended = performance.now()
  await untilCalm(world, ended, calm)
  const recovery = Math.max(0, clients.lastTrouble() - ended) / 1000
  world.mayLose(false)
  return { ...clients.report(), name, recovery, isUnready: unready }
}

async function untilCalm({ clients }: World, since: number, calm: number): Promise<void> {
  while (performance.now() - Math.max(clients.lastTrouble(), since) < calm) {
    if (performance.now() - since > mostRecovery) throw new Error('requests fail, and go on failing')
    await delay(20)
  }
}
