/* SIGNING_KEY changes, or gives way to managed keys, and no user has to log in again. */
import { createHmac, generateKeyPairSync } from 'node:crypto'
import t, { type Test } from 'tap'
import { type ConfigError, loadConfig } from '../../src/config/load.ts'
import { checkSigningKey } from '../../src/keys/import.ts'
import { openApp } from '../support/app.ts'

const former = 'the secret that Django and Keyturn have shared'
const present = 'a secret that was made for Keyturn to have alone'

/** A token as Simple JWT signs it: it names no key. */
function unnamedToken(secret: string, claims: object): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

const headerOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString())

async function suite(t: Test, next: Record<string, string>): Promise<void> {
  const DATA_DIR = t.testdir()
  const before = await openApp(t, { DATA_DIR, SIGNING_KEY: former })
  const { access, refresh, userId } = await before.logIn()
  await before.app.close()

  const bare = await openApp(t, { DATA_DIR, ...next, SIGNING_KEY_PREVIOUS: '' })
  const show = (token: string) => bare.post('/api/token/verify/', { token })
  t.same([(await show(access)).statusCode, (await show(refresh)).statusCode], [401, 401], 'without the previous one')
  await bare.app.close()

  const after = await openApp(t, { DATA_DIR, ...next, SIGNING_KEY_PREVIOUS: former, ADOPT_REFRESH_TOKENS: 'on' })
  t.equal((await after.post('/api/token/verify/', { token: access })).statusCode, 200)
  const answer = await after.post('/api/token/refresh/', { refresh })
  t.equal(answer.statusCode, 200)
  const pair = answer.json()
  t.not(headerOf(pair.refresh).kid, headerOf(refresh).kid, 'signed with another key from now on')
  t.not(headerOf(pair.access).kid, headerOf(access).kid)
  t.equal((await after.post('/api/token/refresh/', { refresh: pair.refresh })).statusCode, 200)

  const exp = after.clock() + 60
  const foreign = unnamedToken(former, { token_type: 'refresh', exp, jti: 'a', user_id: userId })
  t.equal((await after.post('/api/token/refresh/', { refresh: foreign })).statusCode, 200, 'one that Django made')
  for (const [secret, status] of [
    [former, 200],
    [next.SIGNING_KEY ?? former, 200],
    [`${former}.`, 401]
  ] as const) {
    const token = unnamedToken(secret, { token_type: 'access', exp, jti: 'b' })
    t.equal((await after.post('/api/token/verify/', { token })).statusCode, status)
  }
}

t.test('from one secret to another', (t) => suite(t, { SIGNING_KEY: present }))
t.test('from a secret to managed keys', (t) => suite(t, {}))

t.test('a previous key pair stays in the JWKS', async (t) => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const service = await openApp(t, {
    SIGNING_KEY_PREVIOUS: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    ALGORITHM_PREVIOUS: 'RS256'
  })
  const { keys } = (await service.app.inject('/.well-known/jwks.json')).json()
  t.same(
    keys.map(({ alg }: { alg: string }) => alg),
    ['ES256', 'RS256']
  )
})

t.test('an invalid previous key is reported under its own setting', async (t) => {
  const faultsOf = (env: Record<string, string>) => {
    try {
      loadConfig(env, checkSigningKey)
      return []
    } catch (error) {
      return (error as ConfigError).faults
    }
  }
  t.match(faultsOf({ SIGNING_KEY_PREVIOUS: 'short' }), [/^SIGNING_KEY_PREVIOUS: got 5 bytes, expected at least 32/])
  t.match(faultsOf({ SIGNING_KEY_PREVIOUS: former, ALGORITHM_PREVIOUS: 'RS256' }), [
    /^SIGNING_KEY_PREVIOUS: got text that is not a key/
  ])
})
