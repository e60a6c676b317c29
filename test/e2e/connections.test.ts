/* What clients may hold of a service: slow ones, greedy ones and broken ones, on real sockets against a real process. */
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { aDataDir, post, startKeyturn } from '../support/keyturn.ts'

const start = async (t: Test, env: Record<string, string> = {}) => {
  const keyturn = await startKeyturn(t, { DATA_DIR: aDataDir(t), ...env })
  const port = Number(new URL(keyturn.url).port)
  /** A connection, and all that comes back until it is closed. */
  const open = (): { socket: Socket; answer: Promise<string> } => {
    const socket = connect(port, '127.0.0.1').setEncoding('latin1')
    t.teardown(() => socket.destroy())
    const chunks: string[] = []
    socket.on('data', (chunk: string) => chunks.push(chunk)).on('error', () => {})
    // Not `once`, which rejects when the connection is reset.
    const answer = new Promise<string>((resolve) => socket.on('close', () => resolve(chunks.join(''))))
    return { socket, answer }
  }
  return { ...keyturn, open }
}

const statuses = (answers: string): number[] =>
  [...answers.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, each]) => Number(each))
const head = 'POST /api/token/verify/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
const live = 'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n'

t.test('REQUEST_TIMEOUT: 200 clients that never finish a request are disconnected; others are served', async (t) => {
  // Longer than a well-behaved client takes on a busy machine.
  const { url, open } = await start(t, { REQUEST_TIMEOUT: '5s' })
  const began = performance.now()
  const beginnings = ['', `${head}X-Slow: `, `${head}Content-Length: 1000\r\n\r\n`, `${live}${head}`]
  const slow = Array.from({ length: 200 }, (_, each) => {
    const { socket, answer } = open()
    const beginning = beginnings[each % 4] ?? ''
    socket.write(beginning)
    // A byte now and then, so that the connection never stalls.
    const drip = setInterval(() => socket.writable && beginning !== '' && socket.write('x'), 100)
    return answer.finally(() => clearInterval(drip))
  })
  let longest = 0
  for (let each = 0; each < 30; each++) {
    const asked = performance.now()
    t.equal((await post(`${url}/api/token/verify/`, { token: 'x' })).status, 401)
    longest = Math.max(longest, performance.now() - asked)
    await delay(20)
  }
  const answers = await Promise.all(slow)
  t.comment(
    `sent away after ${Math.round(performance.now() - began)} ms; others waited ${Math.round(longest)} ms at most`
  )
  for (const [each, answer] of answers.entries()) {
    // A byte that crosses the 408 on its way resets the connection, and the answer may be lost with it.
    const mayBeReset = each % 4 !== 0 && !answer.includes(' 408 ')
    const served = each % 4 === 3 ? [200] : []
    t.same(statuses(answer), mayBeReset ? served : [...served, 408])
  }
  t.match(
    answers[0],
    /content-type: application\/json\r\n.*connection: close\r\n\r\n{"detail":"The request took too long/is
  )
})

t.test('MAX_CONNECTIONS: one connection more is closed and logged; the others stay open', async (t) => {
  const { url, open, output } = await start(t, { MAX_CONNECTIONS: '50' })
  const all = Array.from({ length: 50 }, open)
  await Promise.all(all.map(({ socket }) => once(socket, 'connect')))
  const answered = once(all[49]?.socket as Socket, 'data')
  all[49]?.socket.write(live)
  await answered
  t.equal(await open().answer, '', 'closed without an answer')
  t.match(output().stdout, /connections refused: worker reached MAX_CONNECTIONS \(50\)/)
  for (const { socket } of all) {
    const data = once(socket, 'data')
    socket.write(live)
    t.match(String(await data), /^HTTP\/1\.1 200/)
  }
  for (const { socket } of all) socket.destroy()
  for (let tries = 0; tries < 3600; tries++) {
    if (
      await fetch(`${url}/health/live`).then(
        ({ ok }) => ok,
        () => false
      )
    )
      return t.pass('and there is room again')
    await delay(50)
  }
  t.fail('and there is room again')
})

t.test('KEEPALIVE_REQUESTS: the last answer says that it is the last, and no client meets a reset', async (t) => {
  const { url, open } = await start(t, { KEEPALIVE_REQUESTS: '5' })
  const { socket, answer } = open()
  for (let each = 0; each < 5; each++) {
    const data = once(socket, 'data')
    socket.write(live)
    t.equal(/\r\nconnection: close\r\n/i.test(String(await data)), each === 4)
  }
  t.same(statuses(await answer), [200, 200, 200, 200, 200], 'and then it is closed')

  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  t.teardown(() => agent.destroy())
  const ask = () =>
    new Promise<number | undefined>((resolve, reject) =>
      get(`${url}/health/live`, { agent }, (answer) => resolve(answer.resume().statusCode)).on('error', reject)
    )
  const all = await Promise.all(Array.from({ length: 200 }, ask))
  t.same([...new Set(all)], [200], '200 requests on connections that are used again')

  const greedy = open()
  greedy.socket.write(live.repeat(7))
  t.same(statuses(await greedy.answer), [200, 200, 200, 200, 200], 'what was sent ahead is not answered')
})

t.test('what a proxy added last is read, however many fields there are before it', async (t) => {
  const { open, output } = await start(t)
  const many = 'a:\r\n'.repeat(3000)
  const ask = async (first: string, last = '') => {
    const { socket, answer } = open()
    socket.write(`${first} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n${many}${last}Connection: close\r\n\r\n`)
    return statuses(await answer)
  }
  t.same(await ask('POST /api/token/verify/', 'X-Forwarded-For: 192.0.2.9\r\n'), [400])
  // Lines are gathered for a while.
  for (let tries = 0; !output().stdout.includes('"msg":"request"') && tries < 7200; tries++) await delay(25)
  t.match(output().stdout, /"ip":"192\.0\.2\.9"/)
  t.same(await ask('GET /metrics'), [200], 'this host')
  for (const sign of [
    'X-Forwarded-For: 127.0.0.1',
    'X-Forwarded-For: ',
    'Forwarded: for=x',
    'Via: 1.1 x',
    'X-Real-IP: ::1'
  ]) {
    t.same(await ask('GET /metrics', `${sign}\r\n`), [404], `not with ${sign}`)
  }
})

t.test('a request that can be read in two ways is refused', async (t) => {
  const { open } = await start(t)
  const ask = async (request: string) => {
    const { socket, answer } = open()
    socket.write(request)
    return await answer
  }
  const body = '{"token":"x"}'
  const two = await ask(
    `${head}content-type: text/plain\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`
  )
  t.match(
    two,
    /^HTTP\/1\.1 415 .*{"detail":"Unsupported media type \\"application\/json, text\/plain\\" in request\."}/s
  )
  const form = 'POST /oauth/introspect HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n'
  const twice = `${form}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntoken=x`
  t.same(statuses(await ask(twice)), [415], 'an OAuth endpoint too')
  for (const lengths of [
    'Content-Length: 13\r\nTransfer-Encoding: chunked',
    'Content-Length: 13\r\nContent-Length: 12',
    'Transfer-Encoding: chunked, identity',
    'Content-Length: +13',
    'Content-Length : 13',
    'Content-Length: 13\r\n folded: x'
  ]) {
    const answer = await ask(`${head}${lengths}\r\n\r\n${body}`)
    t.same(statuses(answer), [400], lengths)
  }
  for (const answer of [
    two,
    await ask('GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    await ask('x\r\n\r\n')
  ]) {
    t.notMatch(answer, /^(server|x-powered-by):/im, 'and no header reveals the software')
    t.equal(answer.match(/^content-type:/gim)?.length, 1)
  }
})
