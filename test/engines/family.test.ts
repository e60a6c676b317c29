/*
 * REDIS_URL with `family`: the version of IP by which the hosts are reached. All servers listen on 127.0.0.1, where `localhost` is;
 * one also on ::1. The private servers are Debian's redis-server; TEST_REDIS_URL is not used.
 */
import { networkInterfaces } from 'node:os'
import t, { type Test } from 'tap'
import { openRedis } from '../../src/stores/redis/client.ts'
import { startOneNode } from '../support/cluster.ts'
import { withoutRedis } from '../support/needs.ts'
import { startRedis } from '../support/redis.ts'
import { startWatched } from '../support/sentinel.ts'

const skip = process.env.TEST_REDIS_URL ? 'it needs servers of its own' : withoutRedis()

/** The address that the server sees after a connection to `url`. */
async function connectedFrom(url: string): Promise<string | undefined> {
  const redis = await openRedis(url, { verifyTls: true })
  try {
    return / addr=(\S+):\d+ /.exec(String(await redis.call('CLIENT', 'INFO')))?.[1]
  } finally {
    redis.disconnect()
  }
}

async function checkFamilies(t: Test, url: string): Promise<void> {
  const named = url.replaceAll('127.0.0.1', 'localhost')
  for (const query of ['', '?family=0', '?family=4'])
    t.equal(await connectedFrom(`${named}${query}`), '127.0.0.1', query)
  await t.rejects(connectedFrom(`${named}?family=6`), { code: 'STORE_DOWN' }, 'no server is there by IPv6')
}

t.test('one server', { skip }, async (t) => {
  const server = await startRedis({ tcp: true, args: [] })
  t.teardown(() => server.stop())
  await checkFamilies(t, server.url)
})

const hasIpv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1')
)

t.test('one server, by IPv6', { skip: skip || (!hasIpv6 && 'this machine has no IPv6') }, async (t) => {
  const server = await startRedis({ tcp: true, args: ['--bind', '127.0.0.1', '::1'] })
  t.teardown(() => server.stop())
  t.equal(await connectedFrom(`${server.url.replace('127.0.0.1', '[::1]')}?family=6`), '[::1]')
})

t.test('Sentinels', { skip }, async (t) => {
  const watched = await startWatched()
  t.teardown(() => watched.stop())
  await checkFamilies(t, watched.url)
})

t.test('a master that Sentinels announce by name', { skip }, async (t) => {
  const watched = await startWatched({ host: 'localhost' })
  t.teardown(() => watched.stop())
  // The Sentinels themselves are asked by their address.
  for (const query of ['', '?family=0', '?family=4'])
    t.equal(await connectedFrom(`${watched.url}${query}`), '127.0.0.1', query)
  await t.rejects(connectedFrom(`${watched.url}?family=6`), { code: 'STORE_DOWN' }, 'no server is there by IPv6')
})

t.test('a Cluster', { skip }, async (t) => {
  const { node } = await startOneNode(t, (args) => startRedis({ tcp: true, args }))
  await checkFamilies(t, node.url.replace('redis://', 'redis+cluster://'))
})
