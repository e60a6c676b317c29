/* docs/recipes/nginx.md, on a real nginx. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findEngines } from '../support/engines.ts'
import { withoutProgram } from '../support/needs.ts'
import { type Arrived, fillIn, readBlock } from '../support/recipes.ts'
import { atMost } from '../support/slack.ts'
import {
  failsClosed,
  passesOnlyTheValid,
  type RunningProxy,
  seesRevocation,
  startProxy,
  untilRefused,
  type World
} from './proxies.ts'

const block = (file: string): string => readBlock('nginx.md', file)

/** The recipe, with lines of other blocks in the location that asks. */
const appWith = (...files: string[]): string =>
  fillIn(block('app.conf'), { 'internal;\n': ['internal;\n', ...files.map(block)].join('') })

/** What Debian's nginx.conf does before it includes conf.d. Under root the workers stay root, to enter the enclosure. */
const main = `
${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path temp/body;
    proxy_temp_path temp/proxy;
    fastcgi_temp_path temp/fastcgi;
    uwsgi_temp_path temp/uwsgi;
    scgi_temp_path temp/scgi;
    include conf.d/*.conf;
}
`

/** nginx with these two files in conf.d; the second may be empty. */
const startNginx = (t: Test, app: string, cache = '', settings: Record<string, string> = {}): Promise<RunningProxy> =>
  startProxy(
    t,
    'nginx',
    ({ keyturn, service, address, enclosure: { directory } }: World) => {
      for (const folder of ['conf.d', 'temp']) mkdirSync(join(directory, folder))
      const write = (name: string, text: string): void => writeFileSync(join(directory, name), text)
      write('nginx.conf', main)
      const places = {
        '127.0.0.1:8000': new URL(keyturn.url).host,
        '127.0.0.1:3000': service.address,
        'listen 80;': `listen ${address};`
      }
      write('conf.d/app.conf', fillIn(app, places))
      if (cache !== '') write('conf.d/keyturn-cache.conf', fillIn(cache, { '/run': directory }))
      const program = process.env.TEST_NGINX || findEngines().nginx || 'nginx'
      return [program, '-p', directory, '-c', 'nginx.conf', '-e', 'stderr']
    },
    settings
  )

t.test('auth_request', { skip: withoutProgram('nginx') }, async (t) => {
  const proxy = await startNginx(t, appWith())
  await passesOnlyTheValid(t, proxy, { username: true })
  await seesRevocation(t, proxy)
  t.equal((await proxy.ask(undefined, { method: 'OPTIONS' })).status, 401)
  await failsClosed(t, proxy)
})

t.test('auth_request, with preflights and a scope', { skip: withoutProgram('nginx') }, async (t) => {
  const app = fillIn(appWith('for CORS'), { '/forward-auth/;': '/forward-auth/?scope=orders.read;' })
  const { ask, keyturn } = await startNginx(t, app)
  const { status, body } = await ask(undefined, { method: 'OPTIONS', headers: { 'X-Auth-User-Id': '1' } })
  const { method, headers }: Arrived = JSON.parse(body)
  t.equal(status, 200)
  t.equal(method, 'OPTIONS', 'the service answers it')
  t.notOk('x-auth-user-id' in headers)
  t.equal((await ask(undefined)).status, 401)
  t.equal((await ask((await keyturn.logIn()).access)).status, 403, 'it has no scope')
})

t.test('auth_request, with a cache', { skip: withoutProgram('nginx') }, async (t) => {
  const cache = block('keyturn-cache.conf')
  const proxy = await startNginx(t, appWith('with the cache'), cache, { FORWARD_AUTH_MAX_AGE: '2s' })
  const { ask, keyturn } = proxy
  await passesOnlyTheValid(t, proxy, { username: true })

  const [one, two] = await Promise.all([keyturn.logIn(), keyturn.logIn()])
  const before = keyturn.count('forward_auth')
  for (let times = 0; times < 10; times++) {
    for (const { access } of [one, two]) {
      const { status, body } = await ask(access)
      t.equal(status, 200)
      t.equal(JSON.parse(body).headers['x-auth-session-id'], sidOf(access), 'each its own')
    }
  }
  const asked = keyturn.count('forward_auth') - before
  t.ok(asked < 20, `20 requests, ${asked} questions`)

  await ask(one.access)
  await keyturn.logOut(one)
  const took = await untilRefused(() => ask(one.access))
  t.ok(took < atMost(4000), `revoked after ${took} ms`)
  t.equal((await ask(two.access)).status, 200)
})

const sidOf = (token: string): unknown => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).sid
