/* Streams of the audit trail: what a receiver that does not read costs, and when it is cut. */
import t from 'tap'
import { type AuditStreamOptions, AuditStreams } from '../../../src/audit/streams.ts'
import type { AuditEntry } from '../../../src/audit/store.ts'

const anEntry = (seq: number): AuditEntry => ({
  seq,
  hash: 'a'.repeat(43),
  at: 1,
  event: 'login',
  result: 'ok',
  ip: '192.0.2.7',
  requestId: 'r'
})

/** A trail of this length, and how many entries were read from it. */
function open(length: number) {
  let read = 0
  const store = {
    last: async () => anEntry(length),
    async list(seq: number, limit: number) {
      const entries = Array.from({ length: Math.min(limit, length - seq) }, (_, index) => anEntry(seq + index + 1))
      read += entries.length
      return entries
    }
  }
  const streams = new AuditStreams(store, 2)
  const openStream = (options: Partial<AuditStreamOptions> = {}) =>
    streams.open({ after: 0, filter: {}, isAllowed: async () => true, ...options })
  return { streams, openStream, read: () => read }
}

t.test('a receiver that does not read is cut, and until then no more is read for it', async (t) => {
  const { streams, openStream, read } = open(100_000)
  const stream = await openStream()
  stream.read(0)
  for (let polls = 0; polls < 20; polls++) await streams.poll()
  t.equal(read(), 200, 'one batch')
  streams.tick()
  t.equal(stream.destroyed, false, 'it has time')
  const { now } = performance
  t.intercept(performance, 'now', { value: () => now.call(performance) + 11_000 })
  streams.tick()
  t.equal(stream.destroyed, true)
  t.equal(streams.cut, 1)
})

t.test('streams have a limit, and none is opened once the worker drains', async (t) => {
  const { streams, openStream } = open(10)
  await Promise.all([openStream(), openStream()])
  await t.rejects(openStream(), { code: 'BUSY' })
  streams.end()
  const late = await open(10)
  late.streams.end()
  const stream = await late.openStream()
  t.equal(String(await stream.toArray()), 'retry: 100\n\n')
})

t.test('a store that fails in another way than by an outage breaks the stream off', async (t) => {
  const broken = { last: async () => anEntry(1), list: () => Promise.reject(new Error('broken')) }
  const stream = await new AuditStreams(broken, 1).open({ after: 0, filter: {}, isAllowed: async () => true })
  await t.rejects(stream.toArray(), { message: 'broken' })
})
