import t, { type Test } from 'tap'
import { KeyturnError } from '../../src/errors.ts'
import { aPassword, openApp } from '../support/app.ts'

/** An application for whose passwords too many wait, until `room` is called. */
async function openFull(t: Test, env: Record<string, string> = {}) {
  const opened = await openApp(t, env)
  let isFull = true
  Object.assign(opened.app.hasher, {
    refuseIfFull() {
      if (isFull) throw new KeyturnError('BUSY', { detail: 'the line is full', retryAfter: 1 })
    }
  })
  const logIn = () => opened.post('/api/token/', { username: 'vitor', password: aPassword })
  const room = (): void => {
    isFull = false
  }
  return { ...opened, logIn, room }
}

t.test('a login for which there is no room costs the stores nothing', async (t) => {
  const { app, addUser, logIn, room } = await openFull(t)
  await addUser('vitor', aPassword)
  const asked: unknown[] = []
  const { query } = app.stores.database
  t.intercept(app.stores.database, 'query', {
    value: (...args: Parameters<typeof query>) => {
      asked.push(args[0])
      return query(...args)
    }
  })
  const answer = await logIn()
  t.equal(answer.statusCode, 503)
  t.match(answer.headers['retry-after'], /^[1-5]$/)
  t.same(answer.json(), { detail: 'Service temporarily unavailable.' })
  t.match(answer.headers['x-request-id'], /./)
  t.same(asked, [])
  room()
  t.equal((await logIn()).statusCode, 200)
  t.not(asked.length, 0)
})

t.test('a full queue refuses a login unread, at both endpoints, and does not count it for its address', async (t) => {
  const env = { RATE_LIMIT_OBTAIN: '1/m', SLIDING_TOKENS: 'true', CORS_ORIGINS: 'https://app.example' }
  const { addUser, post, logIn, room } = await openFull(t, env)
  await addUser('vitor', aPassword)
  for (const endpoint of ['/api/token/', '/api/token/sliding/']) {
    const answer = await post(endpoint, '{"', { 'content-type': 'application/json', origin: 'https://app.example' })
    t.equal(answer.statusCode, 503, endpoint)
    t.equal(answer.headers['access-control-allow-origin'], 'https://app.example', 'a page may read why')
  }
  t.equal((await post('/api/password/', {})).statusCode, 401, 'who changes a password shows a token first')
  t.equal((await post('/api/token/verify/', {})).statusCode, 400, 'and others wait for nothing')
  room()
  t.equal((await logIn()).statusCode, 200)
  t.equal((await logIn()).statusCode, 429, 'that one did count')
})

t.test('many refusals are logged in one line, with their number', async (t) => {
  const { log, logIn } = await openFull(t)
  let later = 0
  const { now } = performance
  t.intercept(performance, 'now', { value: () => now.call(performance) + later })
  const reported = () => log.filter(({ code }) => code === 'BUSY')
  for (let n = 0; n < 5; n++) await logIn()
  t.match(reported(), [{ level: 50, requests: 1, msg: 'BUSY: the line is full', err: undefined }], 'the first at once')
  t.equal(log.filter(({ refusal }) => refusal === 'BUSY').length, 5, 'each has its own as a request')
  later = 10_000
  for (let n = 0; n < 5; n++) await logIn()
  t.match(reported().slice(1), [{ requests: 5 }])
})
