/*
 * Redis over TLS, and with accounts: what is accepted, what is refused and with which message, and the least rights that do.
 * The private servers are Debian's redis-server; TEST_REDIS_URL is not used.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { randomId } from '../../src/random.ts'
import { RevocationReplica } from '../../src/sessions/revocations.ts'
import { openRedis } from '../../src/stores/redis/client.ts'
import { openRedisStore } from '../../src/stores/redis/open.ts'
import { wantedCommands } from '../../src/stores/redis/rights.ts'
import { systemClock } from '../../src/time.ts'
import { aToken, login, until, window } from '../conformance/feed.ts'
import { startOneNode } from '../support/cluster.ts'
import { aDataDir, runKeyturn } from '../support/keyturn.ts'
import { aDevice, aPolicy } from '../support/makers.ts'
import { withoutRedis } from '../support/needs.ts'
import { startRedis } from '../support/redis.ts'
import { makeCertificates, startTlsRedis, startTlsSentinel } from '../support/tls.ts'

const skip = process.env.TEST_REDIS_URL ? 'it needs servers of its own' : withoutRedis()

t.test('TLS', { skip }, async (t) => {
  const certificates = makeCertificates()
  t.teardown(() => certificates.remove())
  const start = async (pair: 'server' | 'elsewhere' | 'selfSigned', args: readonly string[] = []) => {
    const server = await startTlsRedis(certificates, certificates[pair], args)
    t.teardown(() => server.stop())
    return server
  }
  const [server, elsewhere, selfSigned] = [await start('server'), await start('elsewhere'), await start('selfSigned')]
  const open = async (url: string, verifyTls = true) => (await openRedis(url, { verifyTls })).disconnect()
  /** What `keyturn check-config` says of sessions, and its exit status. */
  const check = async (url: string, env: Record<string, string>) => {
    const { code, stdout } = await runKeyturn(['check-config'], { DATA_DIR: aDataDir(t), REDIS_URL: url, ...env })
    return { code, message: /^Sessions: (.*)$/m.exec(stdout)?.[1] ?? stdout }
  }
  const good = { code: 0, message: 'Redis responds.' }
  const trusting = { NODE_EXTRA_CA_CERTS: certificates.authority.certificate }
  const untrusted = (reason: RegExp) => ({ code: 'STORE_DOWN', detail: reason })

  await t.test('a certificate of an unknown authority is refused, with advice', async (t) => {
    const { code, message } = await check(`rediss://${server.host}`, {})
    t.equal(code, 1)
    for (const part of [/self-signed certificate/, /NODE_EXTRA_CA_CERTS/, /REDIS_TLS_VERIFY=false/])
      t.match(message, part)
    t.comment(message)
    await t.rejects(open(`rediss://${selfSigned.host}`), untrusted(/self-signed certificate; .*REDIS_TLS_VERIFY/))
  })

  await t.test('it is accepted when its authority is known, for its host', async (t) => {
    t.same(await check(`rediss://${server.host}`, trusting), good)
    t.match(await check(`rediss://${elsewhere.host}`, trusting), { code: 1, message: /altnames.*REDIS_TLS_VERIFY/ })
  })

  await t.test('any is accepted with REDIS_TLS_VERIFY=false', async (t) => {
    t.same(await check(`rediss://${selfSigned.host}`, { REDIS_TLS_VERIFY: 'false' }), good)
    for (const { host } of [server, elsewhere]) await open(`rediss://${host}`, false)
  })

  await t.test('sessions and the feed go over it', async (t) => {
    t.same(await exercise(`rediss://${selfSigned.host}`), [])
  })

  await t.test('it is not spoken where it was not asked for, nor left out where it was', async (t) => {
    await t.rejects(open(`redis://${server.host}`), { code: 'STORE_DOWN' })
    const plain = await startRedis({ tcp: true })
    t.teardown(() => plain.stop())
    const { host } = new URL(plain.url)
    for (const scheme of ['rediss', 'rediss+sentinel', 'rediss+cluster']) {
      await t.rejects(open(`${scheme}://${host}`, false), { code: 'STORE_DOWN' }, scheme)
    }
  })

  await t.test('behind Sentinels', async (t) => {
    // Only this port of the master is known to the Sentinel, and there it speaks TLS only.
    const sentinel = await startTlsSentinel(certificates, server.tlsPort)
    t.teardown(() => sentinel.stop())
    const url = `rediss+sentinel://127.0.0.1:${sentinel.port}/mymaster`
    await t.rejects(open(url), untrusted(/REDIS_TLS_VERIFY/))
    t.same(await check(url, trusting), good)
    t.same(await exercise(url), [])
  })

  await t.test('in a Cluster', async (t) => {
    const { node } = await startOneNode(t, (args) =>
      startTlsRedis(certificates, certificates.server, [...args, '--tls-cluster', 'yes'])
    )
    const url = `rediss+cluster://${node.host}`
    await t.rejects(open(url), untrusted(/REDIS_TLS_VERIFY/))
    t.same(await check(url, trusting), good)
    t.same(await exercise(url), [])
  })
})

t.test('accounts', { skip }, async (t) => {
  const server = await startRedis({ tcp: true, args: ['--repl-diskless-sync-delay', '0'] })
  t.teardown(() => server.stop())
  const admin = new Redis(server.options)
  t.teardown(() => admin.disconnect())
  const host = server.url.replace('redis://', '')

  await t.test('the least rights that do', async (t) => {
    // A replica, so that revocations wait for it.
    const replica = await startRedis({ args: ['--replicaof', `127.0.0.1 ${new URL(server.url).port}`] })
    t.teardown(() => replica.stop())
    await until(async () => /slave0:.*state=online/.test(await admin.info('replication')), 10_000)
    const commands = wantedCommands.map(([command]) => command)
    const line = [
      'on',
      '>p@ss',
      'resetkeys',
      '~keyturn:*',
      'resetchannels',
      '-@all',
      ...commands.map((each) => `+${each}`)
    ]
    await admin.call('ACL', 'SETUSER', 'keyturn', ...line)
    t.comment(`user keyturn ${line.join(' ')}`)
    t.ok(documented().includes(commands.map((each) => `+${each}`).join(' ')), 'docs/redis.md has them')
    const url = `redis://keyturn:p%40ss@${host}`

    /** The commands and keys that were denied while all was tried. */
    const denied = async (silence?: number): Promise<string[]> => {
      await admin.call('ACL', 'LOG', 'RESET')
      await admin.call('SCRIPT', 'FLUSH')
      await exercise(url, silence)
      const log = (await admin.call('ACL', 'LOG')) as string[][]
      // CLIENT is asked for the connection's name, which is a courtesy.
      const objects = log.map((entry) => entry[entry.indexOf('object') + 1] ?? '')
      return [...new Set(objects)].filter((object) => !object.startsWith('client|'))
    }
    await admin.call('ACL', 'SETUSER', 'default', 'off')
    t.same(await exercise(url), [])
    await admin.call('ACL', 'SETUSER', 'default', 'on')
    t.same(await denied(), [], 'nothing else is asked for')
    const check = async () => (await runKeyturn(['check-config'], { DATA_DIR: aDataDir(t), REDIS_URL: url })).stdout
    t.match(await check(), /^Sessions: Redis responds\.$/m)
    for (const command of commands) {
      await admin.call('ACL', 'SETUSER', 'keyturn', `-${command}`)
      t.same(await denied(command === 'xrevrange' ? undefined : 0), [command], `${command} is needed`)
      // A connection begins with PING, and EVAL answers the question.
      const isAsked = command !== 'ping' && command !== 'eval'
      if (isAsked) t.match(await check(), `permissions are missing. Run: ACL SETUSER keyturn ~keyturn:* +${command}\n`)
      else t.match(await check(), new RegExp(command === 'ping' ? "NOPERM .* 'ping'" : '~keyturn:\\* \\+ping \\+info'))
      await admin.call('ACL', 'SETUSER', 'keyturn', `+${command}`)
    }
    await admin.call('ACL', 'SETUSER', 'keyturn', '+select')
    t.same(await exercise(`${url}/1`, 0), [], 'and SELECT for another database')
    await admin.call('ACL', 'SETUSER', 'keyturn', 'resetkeys', '~other:*')
    t.ok((await denied(0)).length > 0, 'so are the keys')
    t.match(await check(), /Run: ACL SETUSER keyturn ~keyturn:\* \+ping \+info/)
  })

  await t.test('in a Cluster, two more', async (t) => {
    const { node, redis: admin } = await startOneNode(t, (args) => startRedis({ tcp: true, args }))
    t.ok(documented().includes(clusterRights.map((each) => `+${each}`).join(' ')), 'docs/redis.md has them')
    const allowed = [...wantedCommands.map(([command]) => command), ...clusterRights].map((each) => `+${each}`)
    await admin.call('ACL', 'SETUSER', 'keyturn', 'on', '>pass', '~keyturn:*', '-@all', ...allowed)
    t.same(await exercise(node.url.replace('redis://', 'redis+cluster://keyturn:pass@')), [])
  })

  await t.test('a wrong password, an unknown user and a missing user are reported in one line', async (t) => {
    await admin.call('ACL', 'SETUSER', 'ann', 'on', '>right', '~*', '+@all')
    await admin.config('SET', 'requirepass', 'right')
    const open = async (account: string) =>
      (await openRedis(`redis://${account}${host}`, { verifyTls: true })).disconnect()
    const refused = (detail: RegExp) => ({ name: 'KeyturnError', code: 'STORE_DOWN', detail })
    await t.rejects(open('ann:wrong@'), refused(/^Redis: WRONGPASS [^\n]+$/))
    await t.rejects(open('ben:right@'), refused(/^Redis: WRONGPASS [^\n]+$/))
    await t.rejects(open(':wrong@'), refused(/^Redis: WRONGPASS [^\n]+$/))
    await t.rejects(open(''), refused(/^Redis: NOAUTH [^\n]+$/))
    await open('ann:right@')
    await open(':right@')
  })
})

/** docs/redis.md in one line. */
const documented = (): string =>
  readFileSync(new URL('../../../docs/redis.md', import.meta.url), 'utf8').replace(/\s+/g, ' ')

/** What it must be allowed besides in a Cluster; ASKING is for slots that are being moved. */
const clusterRights = ['cluster|slots', 'cluster|info', 'asking'] as const

/**
 * Does once whatever Keyturn does with Redis, waiting so many milliseconds without news, after which the reader of the feed
 * looks whether the stream is what it was. Resolves with what failed.
 */
async function exercise(url: string, silence = 1200): Promise<readonly unknown[]> {
  const open = (maxPerUser: number) =>
    openRedisStore(url, { verifyTls: false, window, policy: aPolicy({ maxPerUser, grace: 0 }) })
  const failures: unknown[] = []
  const lost = (error: unknown) => void failures.push(error)
  const opened = await Promise.all([open(1), open(1000)]).catch(lost)
  if (opened === undefined) return failures
  const [{ sessions: limited, feed }, { sessions, counters, guesses }] = opened
  const replica = new RevocationReplica({ window, staleness: 30 }, systemClock)
  const follower = await feed.follow(Object.assign(replica, { lost })).catch(lost)
  const aUser = () => `user-${Math.random()}`
  const steps = [
    async (userId: string) => {
      const { sid } = await login(limited, userId)
      return (await limited.start(userId, aDevice)).ended.includes(sid) ? sid : undefined
    },
    async (userId: string) => {
      const place = await login(sessions, userId)
      await sessions.find(userId, place.sid)
      await sessions.list(userId)
      await sessions.rotate(place)
      return (await sessions.rotate(place)).kind === 'reused' ? place.sid : undefined
    },
    async (userId: string) => {
      const { sid } = await login(sessions, userId)
      return (await sessions.revoke(userId, sid)) ? sid : undefined
    },
    async (userId: string) => {
      const { sid } = await login(sessions, userId)
      return (await sessions.revokeAll(userId)).includes(sid) ? sid : undefined
    },
    async (userId: string) => {
      const token = { userId, sid: randomId(), issuedAt: systemClock(), expiresAt: systemClock() + 100 }
      if (!(await sessions.adopt(token, aDevice)) || !(await sessions.isSpent(token))) return undefined
      return (await sessions.revoke(userId, token.sid)) ? token.sid : undefined
    },
    async () => {
      await sessions.estimateCount()
      return sessions.ping()
    },
    async (name: string) => {
      const { number, left } = await counters.add(name, 60)
      if (number !== 1 || left > 60 || left < 50) lost(new Error(`${number} counted, for ${left} s`))
    },
    async (key: string) => {
      const charge = { key, budget: { tries: 1, window: 60 } }
      await guesses.take([charge])
      await guesses.giveBack([charge])
      await guesses.remember(key)
      if (!(await guesses.isKnown(key))) lost(new Error('a source is not known'))
      return undefined
    }
  ]
  const answers = await Promise.all(steps.map((step) => step(aUser()).catch(lost)))
  const ended = answers.filter((sid) => typeof sid === 'string')
  if (failures.length === 0 && ended.length !== 5) lost(new Error(`${ended.length} sessions ended`))
  if (failures.length === 0) await until(() => ended.every((sid) => replica.has(aToken(sid))), 1000).catch(lost)
  await delay(silence)
  await Promise.all([limited.close(), sessions.close(), follower?.close()])
  return failures
}
