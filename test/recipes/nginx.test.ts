/* docs/recipes/nginx.md, on a real nginx. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { until } from '../conformance/feed.ts'
import { basic } from '../support/client.ts'
import { findEngines, freePort, openEnclosure, untilReady } from '../support/engines.ts'
import { readEvents } from '../support/events.ts'
import { aDataDir, post, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { withoutProgram } from '../support/needs.ts'
import { fillIn, readBlock } from '../support/recipes.ts'
import { atMost } from '../support/slack.ts'
import {
  failsClosed,
  passesOnlyTheValid,
  passesPreflights,
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

/** Writes nginx.conf and these files in conf.d into the folder, and gives the command that runs nginx on them. */
function configure(directory: string, files: Readonly<Record<string, string>>): readonly [string, ...string[]] {
  for (const folder of ['conf.d', 'temp']) mkdirSync(join(directory, folder))
  writeFileSync(join(directory, 'nginx.conf'), main)
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, 'conf.d', name), text)
  const program = process.env.TEST_NGINX || findEngines().nginx || 'nginx'
  return [program, '-p', directory, '-c', 'nginx.conf', '-e', 'stderr']
}

/** nginx with these two files in conf.d; the second may be empty. */
const startNginx = (t: Test, app: string, cache = '', settings: Record<string, string> = {}): Promise<RunningProxy> =>
  startProxy(
    t,
    'nginx',
    ({ keyturn, service, address, enclosure: { directory } }: World) => {
      const places = {
        '127.0.0.1:8000': new URL(keyturn.url).host,
        '127.0.0.1:3000': service.address,
        'listen 80;': `listen ${address};`
      }
      return configure(directory, {
        'app.conf': fillIn(app, places),
        ...(cache === '' ? {} : { 'keyturn-cache.conf': fillIn(cache, { '/run': directory }) })
      })
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
  const proxy = await startNginx(t, app)
  await passesPreflights(t, proxy)
  t.equal((await proxy.ask((await proxy.keyturn.logIn()).access)).status, 403, 'it has no scope')
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

t.test(
  'deploy/nginx.conf passes each event of the revocation stream on as it comes',
  {
    skip: withoutProgram('nginx')
  },
  async (t) => {
    const env = { DATA_DIR: aDataDir(t) }
    await runKeyturn(['users', 'create', 'vitor'], env, 'correct horse')
    const client = await runKeyturn(['clients', 'create', 'shop', '--scopes', 'keyturn.revocations'], env)
    const keyturn = await startKeyturn(t, env)
    const enclosure = await openEnclosure('nginx', 'SIGTERM')
    t.teardown(() => enclosure.close())
    const address = `127.0.0.1:${await freePort()}`
    const deployed = readFileSync(fileURLToPath(new URL('../../../deploy/nginx.conf', import.meta.url)), 'utf8')
    // Without its certificate.
    const text = fillIn(deployed.replaceAll(/^ +ssl_.*\n/gm, ''), {
      '127.0.0.1:8000': new URL(keyturn.url).host,
      'listen 443 ssl;': `listen ${address};`
    })
    const [program, ...args] = configure(enclosure.directory, { 'keyturn.conf': text })
    const isUp = () =>
      fetch(`http://${address}/.well-known/jwks.json`).then(
        ({ ok }) => ok,
        () => false
      )
    await untilReady(enclosure.spawn(program, args), enclosure, isUp)

    const authorization = basic('shop', client.stdout.trim())
    const reader = await readEvents(t, `http://${address}/api/revocations/`, { authorization })
    await reader.next('caught-up')
    const { body } = await post(`${keyturn.url}/api/token/`, { username: 'vitor', password: 'correct horse' })
    await post(`${keyturn.url}/api/token/blacklist/`, { refresh: body.refresh ?? '' })
    const took = await until(() => reader.events.some(({ event }) => event === 'revoked'), 1000)
    t.comment(`the event arrived ${took.toFixed(0)} ms after the answer`)
    t.equal(await keyturn.stop(), 0)
    t.equal(await reader.ended, true, 'its end arrives too')
    t.match(reader.text(), /\n\nretry: 100\n\n$/)
  }
)

const sidOf = (token: string): unknown => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).sid
