import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { SessionPolicy } from '../../src/sessions/session.ts'
import type { SessionStore } from '../../src/sessions/store.ts'
import { type Connection, failClosed, openRedis } from '../../src/stores/redis/client.ts'
import { makeNames, type Names } from '../../src/stores/redis/names.ts'
import { openRedisSessions } from '../../src/stores/redis/sessions.ts'
import { openProxy, type TcpProxy } from '../support/proxy.ts'
import type { RedisServer } from '../support/redis.ts'
import type { Choices } from './choices.ts'
import { openSteppedClock, type Replacement, readSteppedScript, type SteppedClock } from './clock.ts'
import type { Worker } from './history.ts'

/** A fault planted into the store: the checker must find it. */
export interface Fault {
  /** Texts replaced in the scripts, by script name. */
  readonly scripts?: Readonly<Record<string, readonly Replacement[]>>
  /** Takes the place of the store. */
  readonly wrap?: (store: SessionStore, redis: Connection, names: Names, clock: () => number) => SessionStore
}

/** Everything that the clients' requests pass on their way, and what disturbs it. */
export interface World {
  readonly server: RedisServer
  /** A connection of the checker's own, past the proxy. */
  readonly control: Redis
  readonly proxy: TcpProxy
  readonly clock: SteppedClock
  readonly workers: readonly Worker[]
  readonly names: Names
  /** The key that stands for Redis' clock. */
  readonly clockKey: string
  /** From now on nothing is delayed. */
  calm(): void
  close(): Promise<void>
}

/** Longer than any run: an access token's lifetime is not what is tested, and Redis numbers the feed by its own clock. */
const feedWindow = 1_000_000

export async function openWorld(
  server: RedisServer,
  policy: SessionPolicy,
  workerCount: number,
  choices: Choices,
  fault: Fault = {}
): Promise<World> {
  if (!('port' in server.options)) throw new Error('the server must listen on a port')
  let isCalm = false
  const delay = () => (!isCalm && choices.chance(0.03) ? choices.between(1, 25) : 0)
  const proxy = await openProxy(server.options.port, { delay })
  // It waits out a restart, and sends again what was lost: setting the clock twice does no harm.
  const control = new Redis({ ...server.options, maxRetriesPerRequest: null, retryStrategy: () => 20 })
  control.on('error', () => {})
  const prefix = `history-${process.pid}-${++worlds}:`
  const names = makeNames(prefix)
  const clockKey = `${prefix}clock`
  const clock = await openSteppedClock(control, clockKey)
  const readScript = readSteppedScript(clockKey, fault.scripts)

  const openWorker = async (number: number): Promise<Worker> => {
    const redis = await openRedis(`redis://127.0.0.1:${proxy.port}`, { verifyTls: true })
    const sound = openRedisSessions(redis, policy, feedWindow, { names, clock: clock.earliest, readScript })
    const store =
      fault.wrap === undefined
        ? sound
        : failClosed({ run: (call) => call() }, fault.wrap(sound, redis, names, clock.earliest))
    return { number, store }
  }
  const workers = await Promise.all(Array.from({ length: workerCount }, (_, number) => openWorker(number)))
  return {
    server,
    control,
    proxy,
    clock,
    workers,
    names,
    clockKey,
    calm() {
      isCalm = true
    },
    async close() {
      await Promise.all(workers.map(({ store }) => store.close()))
      await proxy.close()
      control.disconnect()
    }
  }
}

let worlds = 0

/** Ends Redis as a power cut would, and starts it again from what it had written. */
export async function restart({ server }: World): Promise<void> {
  await server.kill('SIGKILL')
  await server.restart()
}

const disturbances = {
  async 'answers lost'({ proxy }: World, choices: Choices) {
    const tunnel = choices.pick(proxy.tunnels())
    tunnel?.loseAnswers()
    await sleep(choices.between(3, 40))
    await whileRefusing(proxy, choices, () => tunnel?.cut())
  },
  async 'connection cut'({ proxy }: World, choices: Choices) {
    await whileRefusing(proxy, choices, () => choices.pick(proxy.tunnels())?.cut())
  },
  async 'all connections cut'({ proxy }: World) {
    for (const tunnel of proxy.tunnels()) tunnel.cut()
  },
  async 'all connections killed by Redis'({ control, proxy }: World) {
    const ports = proxy.tunnels().map((tunnel) => tunnel.port())
    await Promise.all(ports.map((port) => control.call('CLIENT', 'KILL', 'ADDR', `127.0.0.1:${port}`)))
  },
  async 'scripts forgotten'({ control }: World) {
    await control.script('FLUSH')
  },
  /** Longer than a command waits for its answer. */
  async 'a connection hangs'({ proxy }: World, choices: Choices) {
    const tunnel = choices.pick(proxy.tunnels())
    tunnel?.loseAnswers()
    await sleep(2300)
    tunnel?.cut()
  },
  'Redis restarted': restart
} satisfies Record<string, (world: World, choices: Choices) => Promise<void>>

export type Disturbance = keyof typeof disturbances

export const disturb = (kind: Disturbance, world: World, choices: Choices): Promise<void> =>
  disturbances[kind](world, choices)

/** Now and then no new connection is had for a while either: the client then gives up, and its caller hears an error. */
async function whileRefusing(proxy: TcpProxy, choices: Choices, cut: () => void): Promise<void> {
  const refusing = choices.chance(0.5)
  if (refusing) proxy.refuse(true)
  cut()
  if (!refusing) return
  await sleep(choices.between(30, 200))
  proxy.refuse(false)
}
