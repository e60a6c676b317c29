/*
 * How much Redis does in one command for a user with many sessions, while no other command is served: the fields of hashes and the
 * entries of the feed that the command reads or writes, together with all commands of its script. MONITOR shows them. Times are
 * measured by bench/one-user.ts.
 */
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { randomId } from '../../../src/random.ts'
import type { SessionPolicy } from '../../../src/sessions/session.ts'
import { makeNames } from '../../../src/stores/redis/names.ts'
import { openRedisSessions } from '../../../src/stores/redis/sessions.ts'
import { systemClock } from '../../../src/time.ts'
import { until } from '../../conformance/feed.ts'
import { aDevice, aPolicy } from '../../support/makers.ts'
import { needsRedis } from '../../support/needs.ts'

const server = await needsRedis(t, { own: true })
const redis = new Redis(server.options)
t.teardown(() => redis.disconnect())
const names = makeNames(`work-test-${process.pid}:`)
const now = systemClock()

/** A script may read 1,200 sessions of two fields each: lua/limited.lua. */
const maxFields = 3000
const maxEntries = 200
const many = 20_000

interface Work {
  readonly command: string
  fields: number
  entries: number
}

const afterKey = (args: readonly string[]): number => args.length - 2
const pairsOf = (args: readonly string[]): number => afterKey(args) / 2

/** How many fields each command touches, by its arguments. HSCAN reads about COUNT of a hash of this size. */
const fieldsOf: Readonly<Record<string, (args: readonly string[]) => number>> = {
  hscan: (args) => Number(args[args.findIndex((each) => each.toUpperCase() === 'COUNT') + 1] ?? 10),
  hget: () => 1,
  hlen: () => 1,
  hmget: afterKey,
  hdel: afterKey,
  hset: pairsOf
}

/** Commands whose work does not depend on the size of a value. */
const constant = [
  'evalsha',
  'eval',
  'exists',
  'expireat',
  'get',
  'info',
  'mget',
  'ping',
  'rename',
  'set',
  'time',
  'ttl',
  'wait'
]

/** Resolves with what each command that `act` causes does, once it is complete. */
async function workOf(t: Test, act: () => Promise<unknown>): Promise<readonly Work[]> {
  const monitor = await redis.monitor()
  const works: Work[] = []
  const end = `end-${randomId()}`
  let isOver = false
  monitor.on('monitor', (_time: string, args: readonly string[], source: string) => {
    const [name = ''] = args
    const command = name.toLowerCase()
    isOver ||= args.includes(end)
    if (isOver) return
    if (source !== 'lua') works.push({ command, fields: 0, entries: 0 })
    const work = works.at(-1)
    if (work === undefined) return
    if (command === 'xadd') work.entries += 1
    else if (command === 'xrevrange') work.entries += Number(args.at(-1))
    else if (Object.hasOwn(fieldsOf, command)) work.fields += fieldsOf[command]?.(args) ?? 0
    else if (!constant.includes(command)) t.fail(`the work of ${command} is not known`)
  })
  await act()
  await redis.get(end)
  await until(() => isOver, 10_000)
  monitor.disconnect()
  return works
}

async function checkWork(t: Test, what: string, act: () => Promise<unknown>): Promise<void> {
  const works = await workOf(t, act)
  const [fields, entries] = [works.map((work) => work.fields), works.map((work) => work.entries)]
  t.comment(
    `${what}: ${works.length} commands, at most ${Math.max(...fields)} fields and ${Math.max(...entries)} entries`
  )
  t.ok(works.length > 0)
  t.ok(Math.max(...fields) <= maxFields, `${what}: ${Math.max(...fields)} fields in one command`)
  // The newest entry is read, too.
  t.ok(Math.max(...entries) <= maxEntries + 2, `${what}: ${Math.max(...entries)} entries in one command`)
}

const ended = 2 ** 32 - 1

/** Writes sessions as src/stores/redis/record.ts has them, without starting them one by one. Returns their sids. */
async function fill(key: string, count: number, generation = 0): Promise<readonly string[]> {
  const sids = Array.from({ length: count }, randomId)
  for (let first = 0; first < count; first += 500) {
    const pairs = sids.slice(first, first + 500).flatMap((sid, index) => {
      const createdAt = now - count + first + index
      const numbers = [generation, createdAt, createdAt, now + 86_400, now + 3600, 0, 0, createdAt, 0, 0, 0, 0]
      const record = Buffer.alloc(48)
      for (const [place, number] of numbers.entries()) record.writeUInt32BE(number, 4 * place)
      const field = Buffer.from(sid, 'hex')
      return [field, record, Buffer.concat([field, Buffer.from('c')]), Buffer.from('192.0.2.1 test')]
    })
    await redis.hset(key, ...pairs)
  }
  await redis.expireat(key, now + 3600)
  return sids
}

const open = (changes: Partial<SessionPolicy> = {}) => openRedisSessions(redis, aPolicy(changes), 360, { names })

t.test('a login reads and ends a bounded number of sessions', async (t) => {
  const users: readonly (readonly [userId: string, sessions: number, limit: number])[] = [
    ['below the limit', many, 10 * many],
    ['at a limit of many', many, many],
    ['at the limit', 1000, 1000],
    ['beyond the limit', 1150, 1000],
    ['far beyond the limit', many, 1000]
  ]
  for (const [userId, sessions, maxPerUser] of users) {
    await fill(names.sessions(userId), sessions)
    const store = open({ maxPerUser })
    for (let login = 1; login <= 4; login++)
      await checkWork(t, `login ${login}, ${userId}`, () => store.start(userId, aDevice))
  }
})

t.test('a login that meets a thousand sessions whose end broke off announces them in batches', async (t) => {
  await fill(names.sessions('broken'), 1000, ended)
  await checkWork(t, 'a login', () => open().start('broken', aDevice))
  t.ok((await redis.hlen(names.sessions('broken'))) <= 3, 'they are deleted')
})

t.test('what concerns one session touches no other', async (t) => {
  const [sid = '', other = ''] = await fill(names.sessions('u'), many)
  const store = open()
  const place = { userId: 'u', sid, generation: 0 }
  await checkWork(t, 'find', () => store.find('u', sid))
  await checkWork(t, 'a refresh', () => store.rotate(place))
  await checkWork(t, 'a refresh with an unknown token', () => store.rotate({ ...place, sid: randomId() }))
  await checkWork(t, 'a reuse', () => store.rotate({ ...place, generation: 5 }).then(() => store.rotate(place)))
  await checkWork(t, 'a logout', () => store.revoke('u', other))
  const token = { userId: 'u', sid: randomId(), issuedAt: now, expiresAt: now + 100 }
  await checkWork(t, 'adoption', () => store.adopt(token, aDevice))
  await checkWork(t, 'a look at an adopted token', () => store.isSpent(token))
})

t.test('the list is read in steps', async (t) => {
  await fill(names.sessions('listed'), many)
  const store = open()
  await checkWork(t, 'the first page', async () => t.equal((await store.list('listed')).length, 100))
  const [after] = (await store.list('listed')).slice(-1)
  await checkWork(t, 'a page of 1,000', async () =>
    t.equal((await store.list('listed', { limit: 1000, after })).length, 1000)
  )
})

t.test('the end of all sessions is carried out in steps', async (t) => {
  const sids = await fill(names.sessions('ending'), many)
  const store = open()
  const [kept = ''] = sids
  await checkWork(t, 'all but one', async () => t.equal((await store.revokeAll('ending', kept)).length, many - 1))
  t.equal((await store.list('ending')).length, 1)

  for (const what of ['a login', 'a refresh', 'a logout', 'the end of all'] as const) {
    const [sid = ''] = await fill(names.ending('ending'), many)
    await checkWork(t, `after an end of all that broke off, ${what}`, async () => {
      if (what === 'a login') return await store.start('ending', aDevice)
      if (what === 'a refresh') return await store.rotate({ userId: 'ending', sid, generation: 0 })
      if (what === 'a logout') return await store.revoke('ending', sid)
      return t.equal(await store.revokeAll('ending').then((all) => all.includes(sid)), true)
    })
  }
})
