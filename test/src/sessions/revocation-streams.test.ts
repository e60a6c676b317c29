/* Revocations for other services, from the replica on: the log, its cursors, and streams whose receivers read or do not. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Readable } from 'node:stream'
import t from 'tap'
import { RevocationStreams } from '../../../src/sessions/revocation-streams.ts'
import { RevocationReplica } from '../../../src/sessions/revocations.ts'
import { makeManualClock } from '../../../src/time.ts'
import { until } from '../../conformance/feed.ts'
import { aRevocation } from '../../support/makers.ts'

const [window, staleness] = [360, 30]

/** A replica that has been loaded, and its streams. */
function open({ maxStreams = 10 } = {}) {
  const [wall, monotonic] = [makeManualClock(), makeManualClock(0)]
  const replica = new RevocationReplica({ window, staleness }, wall, monotonic)
  replica.began(1000)
  replica.heard()
  const streams = new RevocationStreams(replica, { window, maxStreams, clock: wall })
  const tick = (seconds: number) => {
    wall.advance(seconds)
    monotonic.advance(seconds)
  }
  const at = (position: string, id = position) => ({ ...aRevocation(id, wall()), position })
  return {
    replica,
    streams,
    wall,
    tick,
    at,
    openStream: (cursor?: string) => collect(streams.open(cursor, () => true))
  }
}

/** Reads a stream as fast as it comes; the ids and names of its events, and its text. */
function collect(stream: Readable) {
  let text = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  return {
    stream,
    text: () => text,
    names: () => [...text.matchAll(/^event: (\S+)$/gm)].map(([, name]) => name),
    ids: () => [...text.matchAll(/"sid":"([^"]+)"/g)].map(([, sid]) => sid),
    has: (name: string, times = 1) => until(() => text.split(`event: ${name}\n`).length > times, 5000)
  }
}

t.test('a stream begins with what is known, and goes on with what comes', async (t) => {
  const { replica, openStream, at, wall } = open()
  replica.add([at('1-0', 'a'), { ...at('1-1', 'b'), kind: 'jti' }])
  const reader = openStream()
  await reader.has('caught-up')
  replica.add([at('2-0', 'c')])
  await reader.has('revoked', 2)
  t.same(reader.names(), ['revoked', 'caught-up', 'revoked'], 'and no reset, since there was no cursor')
  const until360 = wall() + window
  t.match(
    reader.text(),
    `retry: 1000\n\nevent: revoked\nid: 1000.1-1\ndata: [{"sid":"a","until":${until360}},{"jti":"b"`
  )
  t.match(reader.text(), `event: revoked\nid: 1000.2-0\ndata: [{"sid":"c","until":${until360}}]\n\n`)
})

t.test('a cursor goes on where it was, in any worker that has heard of it', async (t) => {
  const { replica, openStream, at } = open()
  replica.add([at('1-0', 'a'), at('1-1', 'b'), at('2-0', 'c')])
  const reader = openStream('1000.1-1')
  await reader.has('caught-up')
  t.same(reader.ids(), ['c'])
  t.notMatch(reader.text(), 'reset')
  const last = openStream('1000.2-0')
  await last.has('caught-up')
  t.same(last.ids(), [])
})

t.test('an unknown cursor, and one of another epoch, is reset', async (t) => {
  const { replica, openStream, at } = open()
  replica.add([at('5-0', 'a'), at('7-0', 'b')])
  for (const cursor of ['1000.6-0', '999.7-0', '1000', 'x', '1000.', '.7-0', '1000.7-0.1', 'é']) {
    const reader = openStream(cursor)
    await reader.has('caught-up')
    t.match(reader.text(), 'event: reset\nid:\ndata: {"epoch":1000}\n\n', cursor)
    t.same(reader.ids(), ['a', 'b'], cursor)
  }
})

t.test('a list that lost its end is sent in the order in which it was heard', async (t) => {
  const { replica, openStream, at } = open()
  // A failover to a server whose clock is behind: what it writes has smaller positions.
  replica.add([at('100-0', 'a'), at('105-0', 'b')])
  replica.add([at('100-0', 'a'), at('101-0', 'c'), at('110-0', 'd')])
  const reader = openStream('1000.105-0')
  await reader.has('caught-up')
  t.same(reader.ids(), ['c', 'd'], 'what came after b, although one has a smaller position')
})

t.test('a cursor that this worker has not heard of yet is waited for', async (t) => {
  const { replica, openStream, at } = open()
  replica.add([at('1-0', 'a')])
  const [known, never] = [openStream('1000.2-0'), openStream('1000.3-0')]
  await known.stream.once('readable', () => {})
  replica.add([at('2-0', 'b')])
  await known.has('caught-up')
  t.same([known.ids(), known.names()], [[], ['caught-up']], 'it had all that there is')
  t.same(never.names(), [])
  replica.heard()
  await never.has('caught-up')
  t.same(never.names().slice(0, 2), ['reset', 'revoked'], 'the feed has been read to its end, without it')
})

t.test('another epoch resets every stream, and says what was lost', async (t) => {
  const { replica, openStream, at, wall } = open()
  replica.add([at('1-0', 'a')])
  const reader = openStream()
  await reader.has('caught-up')
  t.match(reader.text(), '"lost_before":null')
  replica.lostBefore(wall() - 1)
  replica.began(2000)
  await reader.has('caught-up', 2)
  t.same(reader.names(), ['revoked', 'caught-up', 'reset', 'revoked', 'caught-up'])
  t.match(reader.text(), `"cursor":"2000.1-0","epoch":2000,"lost_before":${wall() - 1},`)
})

t.test('a heartbeat is written when the feed has been heard, never without, and not while entries wait', async (t) => {
  const { replica, streams, openStream, at } = open()
  const [reader, slow] = [openStream(), streams.open(undefined, () => true)]
  await reader.has('caught-up')
  replica.heard()
  await reader.has('heartbeat')
  t.match(
    reader.text(),
    /event: heartbeat\nid: 1000\.0\ndata: {"cursor":"1000\.0","epoch":1000,"lost_before":null,"window":360,"age":[01],/
  )
  replica.heard()
  streams.tick()
  replica.add(Array.from({ length: 3000 }, (_, each) => at(`${each + 1}-0`)))
  await reader.has('revoked', 3)
  t.equal(streams.lag > 0, true, 'no client reads the other stream')
  t.equal(reader.names().filter((name) => name === 'heartbeat').length, 1, 'they are two seconds apart')
  await delay(1950)
  replica.heard()
  await reader.has('heartbeat', 2)
  let unread = ''
  slow.setEncoding('utf8')
  for (let chunk = slow.read(); chunk !== null; chunk = slow.read()) unread += chunk
  t.equal(unread.split('event: heartbeat').length, 2, 'the second would have said that all has been sent')
})

t.test('entries are forgotten with their term, and a cursor at the last of them stays known', async (t) => {
  const { replica, openStream, at, tick } = open()
  replica.add([at('1-0', 'a'), at('2-0', 'b')])
  tick(window)
  replica.heard()
  const reader = openStream('1000.2-0')
  await reader.has('caught-up')
  t.same(reader.names(), ['caught-up'])
  const old = openStream('1000.1-0')
  await old.has('caught-up')
  t.same(old.names(), ['reset', 'caught-up'])
  t.equal(replica.log.end - replica.log.first, 0)
})

t.test('a snapshot of many comes in events of a thousand, which streams share', async (t) => {
  const { replica, streams, openStream, at } = open()
  replica.add(Array.from({ length: 2500 }, (_, each) => at(`${each + 1}-0`)))
  const [one, other] = [openStream(), openStream()]
  await Promise.all([one.has('caught-up'), other.has('caught-up')])
  t.equal(one.ids().length, 2500)
  t.same(one.names(), ['revoked', 'revoked', 'revoked', 'caught-up'])
  t.same(other.ids(), one.ids())
  const broken = openStream('1000.1000-0')
  await broken.has('caught-up')
  t.same(broken.ids(), one.ids().slice(1000), 'one that broke off is continued')

  const pages = [streams.page(undefined)]
  while (pages.at(-1)?.caught_up === false) pages.push(streams.page(pages.at(-1)?.cursor))
  t.same(
    pages.map(({ revoked, reset }) => [revoked.length, reset]),
    [
      [1000, false],
      [1000, false],
      [500, false]
    ]
  )
  t.same(streams.page(pages.at(-1)?.cursor).revoked, [])
  t.match(streams.page('1000.x'), { reset: true, caught_up: false, cursor: '1000.1000-0' })
})

t.test('a stale feed ends streams and opens none', async (t) => {
  const { replica, streams, openStream, tick } = open()
  const reader = openStream()
  await reader.has('caught-up')
  tick(staleness + 1)
  t.equal(replica.isStale(), true)
  streams.tick()
  await until(() => reader.stream.readableEnded, 5000)
  t.match(reader.text(), /retry: 1000\n\n$/)
  const down = { name: 'KeyturnError', code: 'STORE_DOWN', retryAfter: 1 }
  t.throws(() => streams.open(undefined, () => true), down)
  t.throws(() => streams.page(undefined), down)
  t.equal(streams.count, 0)
})

t.test('streams have a limit', async (t) => {
  const { streams, openStream } = open({ maxStreams: 2 })
  const [first] = [openStream(), openStream()]
  t.throws(() => streams.open(undefined, () => true), { name: 'KeyturnError', code: 'BUSY' })
  first.stream.destroy()
  await until(() => streams.count === 1, 5000)
  openStream()
})

t.test('an end tells receivers to connect again at once', async (t) => {
  const { streams, openStream } = open()
  const reader = openStream()
  await reader.has('caught-up')
  streams.end()
  await until(() => reader.stream.readableEnded, 5000)
  t.match(reader.text(), /retry: 100\n\n$/)
  const late = openStream()
  await until(() => late.stream.readableEnded, 5000)
  t.equal(late.text(), 'retry: 100\n\n')
})

t.test('what is revoked after the end of a stream does not break it off', async (t) => {
  const { replica, streams, at, wall } = open()
  const stream = streams.open(undefined, () => true)
  let failure: unknown
  stream.on('error', (error) => {
    failure = error
  })
  stream.read()
  streams.end()
  replica.add([at('1-0')])
  replica.lostBefore(wall())
  replica.began(2000)
  streams.end()
  streams.tick()
  const reader = collect(stream)
  await until(() => stream.destroyed, 5000)
  t.equal(failure, undefined)
  t.equal(stream.readableEnded, true)
  t.match(reader.text(), /retry: 100\n\n$/)
  t.equal(streams.count, 0)
})

t.test('a receiver that does not read is cut, and an end does not wait for it', async (t) => {
  const { replica, streams, at, openStream } = open()
  const [cut, reader] = [streams.open(undefined, () => true), openStream()]
  // More than a stream holds by itself.
  replica.add(Array.from({ length: 3000 }, (_, each) => at(`${each + 1}-0`, 'a'.repeat(32))))
  streams.tick()
  t.equal(cut.destroyed, false, 'it has time')
  const { now } = performance
  t.intercept(performance, 'now', { value: () => now.call(performance) + 11_000 })
  await until(() => reader.ids().length === 3000, 5000)
  streams.tick()
  t.equal(cut.destroyed, true)
  t.equal(reader.stream.destroyed, false)
  t.equal(streams.cut, 1)
  const third = streams.open(undefined, () => true)
  replica.add([at('3001-0')])
  streams.end()
  await until(() => third.destroyed, 5000)
})
