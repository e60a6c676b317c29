/*
 * Access and sliding tokens between Keyturn and a real Django service with Simple JWT: by the secret both hold, and by our JWKS.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startDjango } from '../support/django.ts'
import { aDataDir, type RunningKeyturn, runKeyturn, startKeyturn, post } from '../support/keyturn.ts'
import { withoutDjango } from '../support/needs.ts'

/** Of access tokens, in seconds: short enough to wait for, long enough for Django's first answer on a busy machine. */
const lifetime = 5

async function whoami(django: string, token: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await fetch(`${django}/whoami/`, { headers: { authorization: `Bearer ${token}` } })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}

/** Keyturn with one user, whose access tokens soon expire. */
async function keyturnWithUser(t: Test, settings: Record<string, string>): Promise<RunningKeyturn> {
  const env = { DATA_DIR: aDataDir(t), ACCESS_TOKEN_LIFETIME: `${lifetime}s`, SLIDING_TOKENS: 'true', ...settings }
  t.equal((await runKeyturn(['users', 'create', 'vitor'], env, 'correct horse')).code, 0)
  return await startKeyturn(t, env)
}

async function login({ url }: RunningKeyturn): Promise<string> {
  const { body } = await post(`${url}/api/token/`, { username: 'vitor', password: 'correct horse' })
  return body.access ?? ''
}

const readPart = (token: string, part: 0 | 1): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[part] ?? '', 'base64url').toString())

/** The token with another user in it, under the signature it had. */
function tamper(token: string): string {
  const [header, , signature] = token.split('.')
  const payload = Buffer.from(JSON.stringify({ ...readPart(token, 1), user_id: '1' })).toString('base64url')
  return [header, payload, signature].join('.')
}

async function suite(t: Test, keyturn: RunningKeyturn, django: string, algorithm: string): Promise<void> {
  t.match(await whoami(django, ''), { status: 401 }, 'no token at all')
  const access = await login(keyturn)
  t.equal(readPart(access, 0).alg, algorithm)
  const { user_id, exp } = readPart(access, 1)
  t.strictSame(await whoami(django, access), { status: 200, body: { user_id } }, 'it takes our access token')
  const credentials = { username: 'vitor', password: 'correct horse' }
  const { token = '' } = (await post(`${keyturn.url}/api/token/sliding/`, credentials)).body
  t.strictSame(await whoami(django, token), { status: 200, body: { user_id } }, 'and our sliding token')
  t.match(await whoami(django, tamper(access)), { status: 401, body: { code: 'token_not_valid' } }, 'tampered')
  await sleep(Number(exp) * 1000 - Date.now() + 500)
  t.match(await whoami(django, access), { status: 401, body: { code: 'token_not_valid' } }, 'expired')
  t.equal((await whoami(django, await login(keyturn))).status, 200, 'a new one')
}

t.test('by the shared SIGNING_KEY', { skip: withoutDjango(), timeout: 120_000 }, async (t) => {
  const secret = randomBytes(32).toString('hex')
  const keyturn = await keyturnWithUser(t, { SIGNING_KEY: secret, ALGORITHM: 'HS256' })
  const django = await startDjango(t, 'HS256', secret)
  await suite(t, keyturn, django, 'HS256')

  const theirs = (await post(`${django}/token/`, {})).body.access ?? ''
  t.equal((await whoami(django, theirs)).status, 200)
  const verify = (token: string) => post(`${keyturn.url}/api/token/verify/`, { token })
  t.strictSame(await verify(theirs), { status: 200, body: {} }, 'we take the token that Simple JWT made')
  t.match(await verify(tamper(theirs)), { status: 401, body: { code: 'token_not_valid' } })
  const stranger = await startDjango(t, 'HS256', randomBytes(32).toString('hex'))
  const foreign = (await post(`${stranger}/token/`, {})).body.access ?? ''
  t.match(await verify(foreign), { status: 401, body: { code: 'token_not_valid' } }, 'made with another secret')
})

t.test('by JWK_URL, with a managed ES256 key', { skip: withoutDjango(), timeout: 120_000 }, async (t) => {
  const keyturn = await keyturnWithUser(t, {})
  const django = await startDjango(t, 'ES256', `${keyturn.url}/.well-known/jwks.json`)
  await suite(t, keyturn, django, 'ES256')
  const stranger = await login(await keyturnWithUser(t, {}))
  t.match(await whoami(django, stranger), { status: 401, body: { code: 'token_not_valid' } }, 'of another Keyturn')
})
