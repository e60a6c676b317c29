/* The service as its first user meets it: the command, on defaults. What it does under signals and faults: test/e2e. */
import t from 'tap'
import { aDataDir, post, runKeyturn, startKeyturn } from '../support/keyturn.ts'

t.test('keyturn serve starts, issues tokens, honours a logout, and stops with exit code 0 at SIGTERM', async (t) => {
  const env = { DATA_DIR: aDataDir(t) }
  const created = await runKeyturn(['users', 'create', 'vitor'], env, 'correct horse')
  t.equal(created.code, 0, created.stderr)
  const { url, stop } = await startKeyturn(t, env)
  const login = await post(`${url}/api/token/`, { username: 'vitor', password: 'correct horse' })
  t.equal(login.status, 200)
  const refreshed = await post(`${url}/api/token/refresh/`, { refresh: login.body.refresh })
  t.equal(refreshed.status, 200)
  const { access, refresh } = refreshed.body
  t.equal((await post(`${url}/api/token/verify/`, { token: access })).status, 200)
  t.equal((await post(`${url}/api/token/blacklist/`, { refresh })).status, 200)
  t.equal((await post(`${url}/api/token/refresh/`, { refresh })).status, 401)
  t.equal(await stop(), 0)
})
