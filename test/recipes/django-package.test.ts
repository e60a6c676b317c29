/* packages/django: its own tests, and the service of its README under Gunicorn, with a Keyturn that runs. */
import { spawnSync } from 'node:child_process'
import t, { type Test } from 'tap'
import { until } from '../support/arbiter.ts'
import { djangoPackage, keyturnForServices, pythonWithGunicorn, startGunicorn } from '../support/gunicorn.ts'
import { aDataDir, post } from '../support/keyturn.ts'
import { withoutProgram } from '../support/needs.ts'

const skip = withoutProgram('gunicorn')

t.test('its Python tests pass, without one that is skipped', { skip }, async (t) => {
  const { status, stderr } = spawnSync(pythonWithGunicorn(), ['-B', '-m', 'unittest'], {
    cwd: djangoPackage,
    encoding: 'utf8'
  })
  t.equal(status, 0, stderr)
  t.ok(Number(/^Ran (\d+) tests/m.exec(stderr)?.[1]) > 50)
  t.notMatch(stderr, /skipped/)
})

async function hearsOfALogout(t: Test, issuer: string, secret: string, workers: number, args: string[]): Promise<void> {
  const service = await startGunicorn(t, { issuer, secret, workers, args })
  const login = { username: 'vitor', password: 'correct horse battery' }
  const [{ body: ended }, { body: other }] = [
    await post(`${issuer}/api/token/`, login),
    await post(`${issuer}/api/token/`, login)
  ]
  const statuses = async (token = ''): Promise<number[]> => (await service.askAll(token)).map(({ status }) => status)
  const all = (status: number): number[] => Array.from({ length: workers }, () => status)
  t.same(await statuses(ended.access), all(200), 'before the logout')
  t.equal((await post(`${issuer}/api/token/blacklist/`, { refresh: ended.refresh ?? '' })).status, 200)
  await until(async () => !(await statuses(ended.access)).includes(200), 'every process refuses the token')
  for (const { status, body, headers } of await service.askAll(ended.access ?? '')) {
    t.equal(status, 401)
    t.match(body, { code: 'token_not_valid', messages: [{ message: 'Token is blacklisted' }] })
    t.equal(headers.get('www-authenticate'), 'Bearer realm="api", error="invalid_token"')
  }
  t.same(await statuses(other.access), all(200), 'another session')
  t.same(await statuses(ended.refresh), all(401), 'a refresh token')
}

t.test('the service of the README refuses a token after the logout in every process', { skip }, async (t) => {
  const { issuer, secret } = await keyturnForServices(t, { DATA_DIR: aDataDir(t) })
  const kinds = {
    'eight sync workers': [8],
    'gthread, preloaded': [2, '--worker-class', 'gthread', '--threads', '4', '--preload'],
    gevent: [2, '--worker-class', 'gevent'],
    'gevent, preloaded': [2, '--worker-class', 'gevent', '--preload']
  } as const
  for (const [name, [workers, ...args]] of Object.entries(kinds))
    await t.test(name, (t) => hearsOfALogout(t, issuer, secret, workers, [...args]))
})
