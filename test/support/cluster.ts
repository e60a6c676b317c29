/** Redis Clusters of a test's own, on loopback: three masters and a replica of each, or one node. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { freePort } from './engines.ts'
import { type RedisServer, startRedis } from './redis.ts'

export type ClusterNode = Pick<RedisServer, 'kill' | 'restart'> & {
  readonly id: string
  readonly port: number
  /** A connection to this node alone. */
  readonly redis: Redis
}

export type RedisCluster = {
  /** `redis+cluster://127.0.0.1:PORT,...` */
  readonly url: string
  /** Masters first, then the replica of each in the same order; a failover does not change this list. */
  readonly nodes: readonly ClusterNode[]
  /** The node that `nodes[from]` holds for the master of `slot`. */
  ownerOf(slot: number, from?: number): Promise<ClusterNode>
  stop(): Promise<void>
}

const masters = 3
const slots = 16_384
/** After how long without an answer a node is held for failed, in milliseconds. */
const nodeTimeout = 2000

/** Starts the cluster, some 3 s, and resolves when each master has its replica and every node knows it. */
export async function startCluster(): Promise<RedisCluster> {
  const opened: ClusterNode[] = []
  const servers: RedisServer[] = []
  const stop = async () => {
    for (const { redis } of opened) redis.disconnect()
    await Promise.all(servers.map((server) => server.stop()))
  }
  try {
    for (let each = 0; each < 2 * masters; each++) {
      const busPort = await freePort()
      const server = await startRedis({ tcp: true, args: nodeArguments(busPort) })
      servers.push(server)
      opened.push(await openNode(server, each, busPort))
    }
    await introduce(opened)
    return { ...describeCluster(opened), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** A node that has all slots, and a connection to it; both end with `t`. `start` starts it with such arguments. */
export async function startOneNode<Node extends RedisServer>(
  t: Pick<Test, 'teardown'>,
  start: (args: readonly string[]) => Promise<Node>
): Promise<{ node: Node; redis: Redis }> {
  const node = await start(nodeArguments(await freePort()))
  t.teardown(() => node.stop())
  const redis = new Redis(node.options)
  t.teardown(() => redis.disconnect())
  await redis.cluster('ADDSLOTSRANGE', 0, slots - 1)
  await settled([redis], isHealthy)
  return { node, redis }
}

const nodeArguments = (busPort: number): string[] =>
  [
    ['cluster-enabled', 'yes'],
    ['cluster-config-file', 'nodes.conf'],
    ['cluster-node-timeout', `${nodeTimeout}`],
    ['cluster-announce-ip', '127.0.0.1'],
    // By itself it is the port and 10,000, which may be beyond the last port.
    ['cluster-port', `${busPort}`],
    // Otherwise a replica is empty for five seconds.
    ['repl-diskless-sync-delay', '0']
  ].flatMap(([name, value]) => [`--${name}`, value ?? ''])

type NewNode = ClusterNode & { readonly busPort: number }

async function openNode(server: RedisServer, index: number, busPort: number): Promise<NewNode> {
  const redis = new Redis({ ...server.options, retryStrategy: () => 100 })
  redis.on('error', () => {})
  await redis.cluster('SET-CONFIG-EPOCH', index + 1)
  const id = String(await redis.cluster('MYID'))
  const { kill, restart } = server
  return { id, port: Number(new URL(server.url).port), busPort, redis, kill, restart }
}

async function introduce(nodes: readonly ClusterNode[]): Promise<void> {
  const [first] = nodes as readonly [ClusterNode]
  for (const [index, { redis, port, ...node }] of nodes.entries()) {
    const share = (part: number): number => Math.floor((slots * part) / masters)
    if (index < masters) await redis.cluster('ADDSLOTSRANGE', share(index), share(index + 1) - 1)
    if (index > 0) await first.redis.call('CLUSTER', 'MEET', '127.0.0.1', port, (node as NewNode).busPort)
  }
  await settled(nodes, async ({ redis }) => (await readNodes(redis)).length === nodes.length)
  for (const [index, { redis }] of nodes.entries()) {
    if (index >= masters) await redis.cluster('REPLICATE', nodes[index - masters]?.id ?? '')
  }
  await settled(nodes, async ({ redis }, index) => {
    const known = await readNodes(redis)
    const replicas = known.filter(({ flags }) => flags.includes('slave')).length
    const replication = await redis.info('replication')
    const isLinked = (index < masters ? /slave0:.*state=online/ : /master_link_status:up/).test(replication)
    return isLinked && replicas === masters && (await isHealthy(redis))
  })
}

const isHealthy = async (redis: Redis): Promise<boolean> =>
  String(await redis.cluster('INFO')).includes('cluster_state:ok')

/** Resolves when all nodes are so. */
async function settled<Node>(
  nodes: readonly Node[],
  isSo: (node: Node, index: number) => Promise<boolean>
): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!(await Promise.all(nodes.map(isSo))).every(Boolean)) {
    if (Date.now() > deadline) throw new Error('the cluster does not come together')
    await sleep(50)
  }
}

/** The nodes as one of them knows them. */
async function readNodes(redis: Redis): Promise<readonly { id: string; flags: string; ranges: readonly string[] }[]> {
  const lines = String(await redis.cluster('NODES'))
    .trim()
    .split('\n')
  return lines.map((line) => {
    const [id = '', , flags = '', , , , , , ...ranges] = line.split(' ')
    return { id, flags, ranges: ranges.filter((range) => !range.startsWith('[')) }
  })
}

function describeCluster(nodes: readonly ClusterNode[]): Omit<RedisCluster, 'stop'> {
  const ownerOf: RedisCluster['ownerOf'] = async (slot, from = 0) => {
    const known = await readNodes((nodes[from] as ClusterNode).redis)
    const owner = known.find(({ ranges }) =>
      ranges.some((range) => {
        const [low, high = low] = range.split('-').map(Number)
        return slot >= (low ?? slots) && slot <= (high ?? -1)
      })
    )
    const node = nodes.find(({ id }) => id === owner?.id)
    if (node === undefined) throw new Error(`no node has slot ${slot}`)
    return node
  }
  return {
    url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    nodes,
    ownerOf
  }
}

/** The slot of a key: CRC16 of its hash tag, or of all of it (Redis Cluster specification, "Key distribution model"). */
export function slotOf(key: string): number {
  let crc = 0
  for (const byte of Buffer.from(/\{([^}]+)\}/.exec(key)?.[1] ?? key)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff
  }
  return crc % slots
}
