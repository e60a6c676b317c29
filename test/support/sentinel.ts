/** A Redis master with two replicas of a test's own, and three Sentinels that watch it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { endProcess, findEngines, freePort, openEnclosure, untilReady, whyMissing } from './engines.ts'
import { type RedisServer, startRedis } from './redis.ts'

export type DataNode = RedisServer & {
  readonly port: number
  /** A connection to this server alone. */
  readonly redis: Redis
}

export type SentinelNode = {
  readonly port: number
  readonly redis: Redis
  kill(signal?: NodeJS.Signals): Promise<void>
  stop(): Promise<void>
}

export type WatchedRedis = {
  /** `redis+sentinel://127.0.0.1:PORT,127.0.0.1:PORT,127.0.0.1:PORT/mymaster` */
  readonly url: string
  /** The first master, then its replicas; a failover does not change this list. */
  readonly nodes: readonly [DataNode, DataNode, DataNode]
  readonly sentinels: readonly SentinelNode[]
  /** The master, as the Sentinel at `from` knows it. */
  master(from?: number): Promise<DataNode>
  stop(): Promise<void>
}

const masterName = 'mymaster'

/**
 * Starts them, some 3 s, and resolves when the replicas have the master's data and the Sentinels know each other. The Sentinels
 * announce the master as `host`, an address or a name.
 */
export async function startWatched({ host = '127.0.0.1' } = {}): Promise<WatchedRedis> {
  const nodes: DataNode[] = []
  const sentinels: SentinelNode[] = []
  const stop = async () => {
    for (const { redis } of [...nodes, ...sentinels]) redis.disconnect()
    await Promise.all([...sentinels, ...nodes].map((server) => server.stop()))
  }
  try {
    for (let each = 0; each < 3; each++) {
      const [master] = nodes
      nodes.push(await startDataNode(master === undefined ? [] : ['--replicaof', `127.0.0.1 ${master.port}`]))
    }
    await until(async () => (await replicasOnline(nodes[0] as DataNode)) === 2)
    await until(async () => (await Promise.all(nodes.slice(1).map(hasData))).every(Boolean))
    for (let each = 0; each < 3; each++) sentinels.push(await startSentinel(host, (nodes[0] as DataNode).port))
    await until(async () => (await Promise.all(sentinels.map(knowsAll))).every(Boolean))
  } catch (error) {
    await stop()
    throw error
  }
  return {
    url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${masterName}`,
    nodes: nodes as [DataNode, DataNode, DataNode],
    sentinels,
    async master(from = 0) {
      const { redis } = sentinels[from] as SentinelNode
      const [, port] = (await redis.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', masterName)) as string[]
      return nodes.find((node) => node.port === Number(port)) as DataNode
    },
    stop
  }
}

async function startDataNode(more: readonly string[]): Promise<DataNode> {
  // Without the first argument a replica is empty for five seconds, and its promotion loses everything.
  const server = await startRedis({ tcp: true, args: ['--repl-diskless-sync-delay', '0', ...more] })
  const port = Number(new URL(server.url).port)
  return { ...server, port, redis: connect(port) }
}

async function startSentinel(masterHost: string, masterPort: number): Promise<SentinelNode> {
  const command = findEngines().redis
  if (command === undefined) throw new Error(whyMissing('redis'))
  const port = await freePort()
  const enclosure = await openEnclosure('sentinel', 'SIGKILL')
  const file = join(enclosure.directory, 'sentinel.conf')
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${enclosure.directory}`,
    'sentinel resolve-hostnames yes',
    'sentinel announce-hostnames yes',
    `sentinel monitor ${masterName} ${masterHost} ${masterPort} 2`,
    `sentinel down-after-milliseconds ${masterName} 1000`,
    `sentinel failover-timeout ${masterName} 6000`
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  const child = enclosure.spawn(command, [file, '--sentinel'])
  const redis = connect(port)
  await untilReady(child, enclosure, () =>
    redis.ping().then(
      () => true,
      () => false
    )
  ).catch(async (error) => {
    redis.disconnect()
    await enclosure.close()
    throw error
  })
  return { port, redis, kill: (signal = 'SIGKILL') => endProcess(child, signal), stop: () => enclosure.close() }
}

function connect(port: number): Redis {
  const redis = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 50, maxRetriesPerRequest: 1 })
  redis.on('error', () => {})
  return redis
}

const replicasOnline = async ({ redis }: DataNode): Promise<number> =>
  (await redis.info('replication')).match(/state=online/g)?.length ?? 0

/** Whether a replica follows its master: online, for the master, is also one that has yet to load what it was sent. */
const hasData = async ({ redis }: DataNode): Promise<boolean> =>
  /master_link_status:up/.test(await redis.info('replication'))

/** Whether a Sentinel knows both others and both replicas. */
async function knowsAll({ redis }: SentinelNode): Promise<boolean> {
  const flat = (await redis.call('SENTINEL', 'MASTER', masterName)) as string[]
  const after = (name: string) => flat[flat.indexOf(name) + 1]
  return after('num-other-sentinels') === '2' && after('num-slaves') === '2' && after('flags') === 'master'
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error('the Sentinels and their servers do not come together')
    await sleep(50)
  }
}
