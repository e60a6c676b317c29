import t from 'tap'
import { EventParser } from '../src/events.ts'

const text = [
  'retry: 100',
  '',
  'event: revoked',
  'id: 7',
  'data: [1,',
  'data: 2]',
  '',
  ': still here',
  'data',
  ''
].join('\n')

t.test('events: a stream that is cut anywhere gives the same events', async (t) => {
  const whole = new EventParser().push(`${text}\n`)
  t.same(whole, [
    { type: 'message', data: '', id: undefined, retry: 100 },
    { type: 'revoked', data: '[1,\n2]', id: '7', retry: undefined },
    { type: 'message', data: '', id: undefined, retry: undefined }
  ])
  for (let cut = 0; cut <= text.length; cut++) {
    const parser = new EventParser()
    t.same([...parser.push(text.slice(0, cut)), ...parser.push(`${text.slice(cut)}\n`)], whole)
  }
  t.same(new EventParser().push(`${text}\n`.replaceAll('\n', '\r\n')), whole, 'and with CRLF')
})

t.test('events: an event that is not complete is not an event', async (t) => {
  t.same(new EventParser().push('event: heartbeat\ndata: {}\n'), [])
})

t.test('events: a value that is not a number sets no time to reconnect', async (t) => {
  t.same(new EventParser().push('retry: -1\n\nretry: 1e9\n\n\n\n'), [])
})

t.test('events: an event without an end is refused before it fills the memory', async (t) => {
  const long = 'x'.repeat(600_000)
  const inOneLine = new EventParser()
  inOneLine.push(`data: ${long}`)
  t.throws(() => inOneLine.push(long), /over 1000000 characters/)
  const inLines = new EventParser()
  inLines.push(`data: ${long}\n`)
  t.throws(() => inLines.push(`data: ${long}\n`), /over 1000000 characters/)
  const comments = new EventParser()
  for (let i = 0; i < 10; i++) t.same(comments.push(`: ${long}\n`), [], 'comments do not add up')
})
