/* Who another service is, and how it proves it. */
import fc from 'fast-check'
import t from 'tap'
import { type Client, clientIdFault, hashSecret, isProvenBy, secretFault } from '../../../src/clients/client.ts'
import { readCredentials } from '../../../src/clients/credentials.ts'
import { makeClientDirectory } from '../../../src/clients/directory.ts'
import { parseScope } from '../../../src/clients/scope.ts'
import { randomSecret } from '../../../src/random.ts'
import { makeManualClock } from '../../../src/time.ts'
import { basic } from '../../support/client.ts'

const aDevice = (changes: Partial<Client> = {}): Client => ({
  id: 'gateway',
  secretHash: hashSecret({ id: 'gateway', secret: 'the secret' }),
  previous: undefined,
  scopes: [],
  createdAt: 0,
  rotatedAt: 0,
  ...changes
})

t.test('an id that is none of a user', async (t) => {
  for (const id of ['a', 'gateway', 'orders.v2_eu-west', 'x'.repeat(63), 'deadbeef'])
    t.equal(clientIdFault(id), undefined, id)
  const wrong = ['', 'A', '1', '42', '-a', 'a b', 'a:b', 'ä', 'a\n', 'x'.repeat(64), 'keyturn']
  for (const id of [...wrong, 'ebf959a3-3e4f-42e5-9727-31a79e5c329f']) t.type(clientIdFault(id), 'string', id)
})

t.test('a secret that was given', async (t) => {
  for (let each = 0; each < 100; each++) t.equal(secretFault(randomSecret()), undefined)
  t.equal(secretFault('0123456789abcdef0123456789abcdef'), undefined)
  t.match(secretFault('correct-horse-battery-staple-31'), /easily guessed: expected at least 32/)
  t.match(secretFault('password'.repeat(4)), /easily guessed/, 'seven letters')
  t.match(secretFault('correct horse battery staple and more'), /without spaces/)
  t.match(secretFault('ä'.repeat(40)), /ASCII/)
  t.match(secretFault('0123456789abcdef'.repeat(17)), /too long/)
})

t.test('who is proven by what', async (t) => {
  const good = { id: 'gateway', secret: 'the secret' }
  t.equal(isProvenBy(aDevice(), good, 0), true)
  t.equal(isProvenBy(aDevice(), { ...good, secret: 'another' }, 0), false)
  t.equal(isProvenBy(aDevice(), { ...good, secret: '' }, 0), false)
  t.equal(isProvenBy(aDevice({ id: 'billing' }), { ...good, id: 'billing' }, 0), false, 'a hash moved to another row')
  t.equal(isProvenBy(undefined, good, 0), false)
  t.equal(isProvenBy(undefined, { id: '', secret: '' }, 0), false, 'empty credentials without a client are refused')
  t.equal(isProvenBy(aDevice(), { id: '', secret: '' }, 0), false)
  const rotated = aDevice({
    secretHash: hashSecret({ id: 'gateway', secret: 'the next' }),
    previous: { secretHash: hashSecret(good), until: 100 }
  })
  t.equal(isProvenBy(rotated, { ...good, secret: 'the next' }, 500), true)
  t.equal(isProvenBy(rotated, good, 99), true)
  t.equal(isProvenBy(rotated, good, 100), false, 'until is the first second in which it is not good any more')
})

t.test('credentials as libraries and people send them', async (t) => {
  const raw = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
  const gateway = { id: 'gateway', secret: 'a-b_c' }
  t.same(readCredentials([], { client_id: 'gateway', client_secret: 'a-b_c' }), [gateway])
  t.same(readCredentials(['Bearer x'], { client_id: 'gateway', client_secret: 'a-b_c' }), [gateway])
  for (const header of [basic('gateway', 'a-b_c'), raw('gateway:a-b_c')])
    t.same(readCredentials([header], { client_id: 'gateway' })[0], gateway)
  t.same(readCredentials([basic('gateway', 'a-b_c').replace('Basic', 'bASIC ')], {})[0], gateway, 'RFC 9110 §11.1')
  t.same(readCredentials([raw('gateway:a+b%2Fc')], {}), [
    { id: 'gateway', secret: 'a b/c' },
    { id: 'gateway', secret: 'a+b%2Fc' }
  ])
  t.same(readCredentials([raw('gateway:100%')], {}), [{ id: 'gateway', secret: '100%' }], 'no encoding at all')
  t.same(readCredentials([raw('gateway:a:b')], {}), [{ id: 'gateway', secret: 'a:b' }], 'the first colon parts them')
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (id, secret) => {
      t.same(readCredentials([basic(id, secret)], {})[0], { id, secret })
    })
  )

  const invalid = { code: 'CLIENT_INVALID' }
  for (const parameters of [{}, { client_id: 'gateway' }, { client_secret: 'x' }])
    t.throws(() => readCredentials([], parameters), invalid)
  for (const header of ['Basic', 'Basic ', 'Basic !', raw('no colon')])
    t.throws(() => readCredentials([header], {}), invalid)
  const twice = { code: 'OAUTH_REQUEST' }
  t.throws(() => readCredentials([basic('gateway', 'x')], { client_id: 'gateway', client_secret: 'x' }), twice)
  t.throws(() => readCredentials([basic('gateway', 'x')], { client_id: 'billing' }), twice)
})

t.test('scopes', async (t) => {
  t.same(parseScope(''), [])
  t.same(parseScope(' a  b a '), ['a', 'b'])
  t.same(parseScope('https://api.example/orders.read !#~'), ['https://api.example/orders.read', '!#~'])
  for (const text of ['a"b', 'a\\b', 'a\tb', 'a\nb', 'ä', 'a\x7f', 'good b"ad'])
    t.equal(parseScope(text), undefined, text)
})

t.test('the directory: as old as it was asked, and closed when it is too old', async (t) => {
  const clock = makeManualClock()
  let kept: readonly Client[] = [aDevice()]
  const store = { list: async () => kept }
  const directory = makeClientDirectory(store, 30, clock)
  t.throws(() => directory.find('gateway'), { code: 'STORE_DOWN' }, 'it was never read')
  await directory.update()
  t.same(directory.find('gateway'), aDevice())
  t.equal(directory.find('unknown'), undefined)
  t.equal(directory.find('__proto__'), undefined)

  kept = []
  t.same(directory.find('gateway'), aDevice(), 'not read yet')
  await directory.update()
  t.equal(directory.find('gateway'), undefined)

  store.list = () => Promise.reject(new Error('gone'))
  await t.rejects(directory.update(), { message: 'gone' })
  clock.advance(30)
  t.equal(directory.find('gateway'), undefined)
  clock.advance(1)
  t.throws(() => directory.find('gateway'), { code: 'STORE_DOWN', retryAfter: 1 })

  let answer: (clients: readonly Client[]) => void = () => {}
  store.list = () =>
    new Promise((resolve) => {
      answer = resolve
    })
  const reading = directory.update()
  clock.advance(31)
  answer([aDevice()])
  await reading
  t.throws(() => directory.find('gateway'), { code: 'STORE_DOWN' }, 'an answer is as old as its question')
})
