/* verify/batch: what verify says of each of many tokens. */
import t from 'tap'
import { KeyturnError } from '../../src/errors.ts'
import { aPassword, openApp } from '../support/app.ts'
import { until } from '../support/arbiter.ts'
import { addClient } from '../support/client.ts'
import { decodePart } from '../support/forger.ts'

const endpoint = '/api/token/verify/batch/'

t.test('one answer a token, in their order', async (t) => {
  const service = await openApp(t, { RATE_LIMIT_VERIFY: '2/h' })
  const { access, refresh, userId } = await service.logIn()
  const over = (await service.post('/api/token/', { username: 'vitor', password: aPassword })).json()
  await service.post('/api/token/blacklist/', { refresh: over.refresh })
  await until(() => service.app.revocations.has(decodePart(over.access, 1)))
  const client = await addClient(service, 'billing', ['orders.read'])
  const own = (await client.post('/oauth/token', { grant_type: 'client_credentials' })).json().access_token
  const tokens = [access, 'x', over.access, refresh, '', over.refresh, ` ${access}\n`, own, 'x'.repeat(5000)]
  const answer = await service.post(endpoint, { tokens })
  t.equal(answer.statusCode, 200)
  t.equal(answer.headers['cache-control'], 'no-store')
  const good = (token: string) => ({ active: true, ...decodePart(token, 1) })
  const bad = { active: false }
  t.same(answer.json(), {
    results: [good(access), bad, bad, good(refresh), bad, bad, good(access), good(own), bad]
  })
  t.match(answer.body, /^{"results":\[{"active":true,"token_type":"access",/)
  t.match(service.log.at(-1), { event: 'verify', status: 200, tokens: 9, active: 4 })

  await service.app.stores.users.setActive(userId, false)
  t.match(
    (await service.post(endpoint, { tokens: [access] })).json(),
    { results: [{ active: true }] },
    'as verify has it'
  )
  t.equal((await service.post(endpoint, { tokens: [access] })).statusCode, 429, 'a batch is one request')
})

t.test('a claim of one’s own does not make a token active or not', async (t) => {
  const service = await openApp(t)
  const { id } = await service.addUser('vitor', aPassword)
  await service.app.stores.users.setClaims(id, { active: false })
  const { access } = (await service.post('/api/token/', { username: 'vitor', password: aPassword })).json()
  t.match((await service.post(endpoint, { tokens: [access] })).json(), { results: [{ active: true, user_id: id }] })
})

t.test('a hundred of the longest there are, and not one more', async (t) => {
  const service = await openApp(t)
  const longest = Array.from({ length: 100 }, () => 'x'.repeat(4096))
  const full = await service.post(endpoint, JSON.stringify({ tokens: longest }, undefined, 2), {
    'content-type': 'application/json'
  })
  t.equal(full.statusCode, 200)
  t.equal(full.json().results.length, 100)
  const rows: readonly (readonly [tokens: unknown, message: string])[] = [
    [[...longest.map(() => 'x'), 'x'], 'Ensure this field has no more than 100 elements.'],
    [[], 'This list may not be empty.'],
    [undefined, 'This field is required.'],
    [null, 'This field may not be null.'],
    ['x', 'Expected a list of items but got type "str".'],
    [{ 0: 'x' }, 'Expected a list of items but got type "dict".'],
    [['x', 7], 'Item 1: Not a valid string.'],
    [[['x']], 'Item 0: Not a valid string.']
  ]
  for (const [tokens, message] of rows) {
    const answer = await service.post(endpoint, { tokens })
    t.equal(answer.statusCode, 400, message)
    t.same(answer.json(), { tokens: [message] })
  }
  t.equal((await service.post(endpoint, { tokens: ['x'.repeat(420_000)] })).statusCode, 413)
  const wide = await openApp(t, { BODY_LIMIT: '1048576' })
  t.equal(
    (await wide.post(endpoint, { tokens: ['x'.repeat(420_000)] })).statusCode,
    200,
    'BODY_LIMIT only makes it larger'
  )
})

t.test('what cannot be known of one token is known of none', async (t) => {
  const service = await openApp(t)
  const { access, refresh } = await service.logIn()
  const down = async () => {
    throw new KeyturnError('STORE_DOWN', { detail: 'gone', retryAfter: 1 })
  }
  t.intercept(service.app.stores.sessions, 'find', { value: down })
  t.equal((await service.post(endpoint, { tokens: [access] })).statusCode, 200)
  t.equal((await service.post(endpoint, { tokens: [access, refresh] })).statusCode, 503)
})
