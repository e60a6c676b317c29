/* The cache of verified tokens: no answer of it outlives the token, its key or its session, and it has a bound. */
import t from 'tap'
import { publishNext, sealFor } from '../../src/keys/keyring.ts'
import { openApp, type TestApp } from '../support/app.ts'
import { until } from '../support/arbiter.ts'
import { decodePart, encode, joinSigned, makeKeyPair, readKeyPair } from '../support/forger.ts'

const verify = async ({ post }: TestApp, token: string): Promise<string> => {
  const { statusCode, body } = await post('/api/token/verify/', { token })
  return `${statusCode} ${body}`
}
const good = '200 {}'
const refused = (detail: string): string => `401 ${JSON.stringify({ detail, code: 'token_not_valid' })}`

t.test('a token seen before is read once', async (t) => {
  const service = await openApp(t)
  const { access } = await service.logIn()
  const { codec } = service.app
  const payload = codec.read(access)
  t.equal(codec.read(access), payload, 'the very same answer')
  t.ok(Object.isFrozen(payload), 'which no caller can change for the next one')
  t.equal(await verify(service, access), good)
})

t.test('a refresh token takes no place among them, unless it has the key of access tokens', async (t) => {
  const shared = makeKeyPair('HS256').text
  for (const [settings, isRemembered] of [[{}, false] as const, [{ SIGNING_KEY: shared }, true] as const]) {
    const service = await openApp(t, settings)
    const { access, refresh } = await service.logIn()
    const { codec } = service.app
    const payload = codec.read(refresh)
    t.equal(codec.read(refresh) === payload, isRemembered)
    t.same(codec.read(refresh), payload)
    t.equal(codec.read(access), codec.read(access))
  }
})

t.test('it is not good after its expiry', async (t) => {
  const service = await openApp(t)
  const { access, refresh } = await service.logIn()
  for (const token of [access, refresh]) t.equal(await verify(service, token), good)
  service.clock.advance(299)
  t.equal(await verify(service, access), good)
  service.clock.advance(1)
  t.equal(await verify(service, access), refused('Token is expired'))
  service.clock.advance(86_100)
  t.equal(await verify(service, refresh), refused('Token is expired'))
})

t.test('nor after its session has ended', async (t) => {
  const service = await openApp(t)
  const { access, refresh } = await service.logIn()
  for (const token of [access, refresh]) t.equal(await verify(service, token), good)
  t.equal((await service.post('/api/token/blacklist/', { refresh })).statusCode, 200)
  await until(async () => (await verify(service, access)) === refused('Token is blacklisted'))
  t.equal(await verify(service, refresh), '400 {"non_field_errors":["Token is blacklisted"]}')
})

t.test('nor after its key is gone; and a key that comes is known without a restart', async (t) => {
  const service = await openApp(t)
  const { app, clock } = service
  const { access } = await service.logIn()
  const first = app.keyring.keys().signing
  t.equal(await verify(service, access), good)
  const jwks = async (): Promise<string[]> =>
    (await app.inject('/.well-known/jwks.json')).json().keys.map(({ kid }: { kid: string }) => kid)

  const options = { store: app.stores.keys, secret: app.stores.keySecret, previousSecret: undefined, clock }
  await publishNext(options)
  await until(async () => (await jwks()).length === 2)
  const next = app.keyring.keys().verifying.find(({ kid }) => kid !== first.kid)!
  const { header, claims } = { header: decodePart(access, 0), claims: decodePart(access, 1) }
  const byNext = joinSigned(
    'ES256',
    readKeyPair(next.privateText).privateKey,
    encode({ ...header, kid: next.kid }),
    encode(claims)
  )
  t.equal(await verify(service, byNext), good, 'another worker may sign with the next key a moment earlier')

  await options.store.activate(next.kid, clock(), sealFor(options))
  await until(async () => app.keyring.keys().signing.kid === next.kid)
  t.equal(decodePart((await service.logIn('another')).access, 0).kid, next.kid)
  t.equal(await verify(service, access), good, 'a retired key still verifies')
  await options.store.drop(first.kid)
  await until(async () => (await verify(service, access)) !== good)
  t.equal(await verify(service, access), refused('Token is invalid'))
  t.equal(await verify(service, byNext), good)
  t.same(await jwks(), [next.kid])
  t.match(
    service.log.filter(({ msg }) => /signing key changed/.test(String(msg))),
    [{}, { kid: next.kid }, { kid: next.kid }]
  )
})

t.test('the bound, and what is never kept', async (t) => {
  const pair = makeKeyPair('HS256')
  const { app } = await openApp(t, { SIGNING_KEY: pair.text })
  const { codec } = app
  const sign = (claims: object, key = pair): string =>
    joinSigned('HS256', key.privateKey, encode({ alg: 'HS256' }), encode(claims))
  const most = 4096
  const first = sign({ jti: 'first' })
  const payload = codec.read(first)

  const other = makeKeyPair('HS256')
  const isRefused = (token: string): boolean => {
    try {
      codec.read(token)
      return false
    } catch (error) {
      return (error as { code: string }).code === 'TOKEN_INVALID'
    }
  }
  const forged = Array.from({ length: 2 * most }, (_, index) => sign({ jti: String(index) }, other))
  t.ok(forged.every(isRefused))
  t.ok(forged.every(isRefused), 'again')
  t.equal(codec.read(first), payload, 'forged tokens push nothing out')

  for (let index = 1; index < most; index++) codec.read(sign({ jti: String(index) }))
  t.equal(codec.read(first), payload, `${most} tokens are kept`)
  codec.read(sign({ jti: 'one too many' }))
  const again = codec.read(first)
  t.not(again, payload, 'and one more takes the place of the oldest')
  t.same(again, payload)

  const early = sign({ exp: 4_000_000_000, jti: 'x', nbf: 1_700_000_010 })
  const service = await openApp(t, { SIGNING_KEY: pair.text })
  t.equal(await verify(service, early), refused('Token is invalid'))
  service.clock.advance(10)
  t.equal(await verify(service, early), good, 'a refusal is not remembered')
})
