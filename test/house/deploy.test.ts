/* What deploys Keyturn names only settings there are, with values they take, and commands and endpoints that exist. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { type Setting, type SettingName, settings, variableOf } from '../../src/config/settings.ts'
import { checkSigningKey } from '../../src/keys/import.ts'
import { openApp } from '../support/app.ts'

const read = (path: string): string => readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8')
const manifest = JSON.parse(read('package.json'))
const command = (name: string): string => `node ${manifest.bin.keyturn} ${name}`

const rows = new Map((Object.keys(settings) as SettingName[]).map((name) => [variableOf(name), settings[name]]))

/** Variables that are not settings: read by Node, by systemd's protocol, or before the settings. */
const others: Readonly<Record<string, RegExp>> = {
  NODE_ENV: /^production$/,
  ENV_FILE: /^\//,
  NODE_EXTRA_CA_CERTS: /^\//
}

/** Each variable is a setting, and takes its value, where that is not filled in later. */
function areSettings(t: Test, variables: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(variables)) {
    const setting: Setting<unknown> | undefined = rows.get(name)
    if (setting === undefined) t.match(String(value), others[name] ?? /^no such setting$/, name)
    else if (value !== null && !String(value).includes('${'))
      t.not(setting.parse(String(value)), undefined, `${name}=${value}`)
  }
}

t.test('app.json', async (t) => {
  interface Variable {
    readonly description: string
    readonly value?: string
    readonly generator?: string
  }
  const app = JSON.parse(read('app.json'))
  const vars = Object.entries(app.env as Record<string, Variable>)
  // Heroku's generator gives 64 hex digits.
  const env = Object.fromEntries(vars.map(([name, { value }]) => [name, value ?? 'a1'.repeat(32)]))
  areSettings(t, env)
  for (const [name, { description, value, generator }] of vars) {
    t.match(description, /\.$/, `${name} is explained`)
    t.equal(generator, rows.get(name)?.secret ? 'secret' : undefined, 'no secret is written down, and each is made')
    t.not(value === undefined, generator === undefined)
  }
  t.notOk('SIGNING_KEY' in env, 'keys are managed: a fixed secret could neither rotate nor be published')
  const platform = { NODE_ENV: 'production', PORT: '5000', WEB_CONCURRENCY: '1' }
  const addOns = { DATABASE_URL: 'postgres://u:p@h:5432/d', REDIS_URL: 'rediss://:p@h:6379' }
  const config = loadConfig({ ...env, ...platform, ...addOns }, checkSigningKey)
  t.match(config, { redisTlsVerify: false, pgsslmode: 'no-verify', forwardedAllowIps: ['*'] })
  t.match(app.addons.join(), /^heroku-postgresql:.*,heroku-redis:/)
  t.same(Object.keys(app.formation), ['web'])
})

t.test('the Procfile, and npm start', async (t) => {
  const types = Object.fromEntries(
    read('Procfile')
      .trim()
      .split('\n')
      .map((line) => line.split(': '))
  )
  // `exec`: a shell in between would get the signals, and keep them.
  t.same(types, { release: `exec ${command('migrate')}`, web: `exec ${command('serve')}` })
  t.equal(manifest.scripts.start, types.web)
  // Heroku warns of a range that begins with >, and then picks a line by itself.
  t.match(manifest.engines.node, /^\^\d+\.\d+\.\d+( \|\| \^\d+\.\d+\.\d+)*$/)
  const line = read('.nvmrc').trim()
  t.match(manifest.engines.node, `^${line}.`)
  t.same(
    [...read('Dockerfile').matchAll(/^FROM node:(\d+)-/gm)].map(([, major]) => major),
    [line, line]
  )
})

t.test('the Dockerfile', async (t) => {
  const lines = read('Dockerfile')
    .replace(/\\\n/g, '')
    .split('\n')
    .filter((line) => /^[A-Z]/.test(line))
  const last = lines.findLastIndex((line) => line.startsWith('FROM '))
  const only = (name: string): string =>
    lines
      .slice(last)
      .find((line) => line.startsWith(`${name} `))
      ?.slice(name.length + 1) ?? ''

  t.equal(lines.filter((line) => line.startsWith('FROM ')).length, 2, 'it is built elsewhere')
  for (const line of lines.filter((line) => line.startsWith('FROM ')))
    t.match(line, /^FROM node:\d+-bookworm-slim( AS build)?$/)
  t.match(only('USER'), /^[1-9]\d*:[1-9]\d*$/, 'not root, and by numbers')
  areSettings(
    t,
    Object.fromEntries(
      only('ENV')
        .split(' ')
        .map((pair) => pair.split('='))
    )
  )
  t.equal(JSON.parse(only('CMD')).join(' '), command('serve'))
  t.match(JSON.parse(only('ENTRYPOINT')), ['/usr/bin/tini', '--', '/usr/bin/prlimit', '--core=0', '--'])
  t.equal(only('STOPSIGNAL'), '', 'it stays SIGTERM')
  t.notOk(lines.slice(last).some((line) => /\b(npm|npx|curl)\b/.test(line)))
  t.match(read('.dockerignore'), /^\*\n!package\.json\n/m, 'nothing gets in that is not named')

  const [, check = ''] = /CMD (\[.*\])$/.exec(only('HEALTHCHECK')) ?? []
  const [node, ...args] = JSON.parse(check)
  t.equal(node, 'node', 'slim images have no curl')
  const ask = (port: number): Promise<number> =>
    new Promise((resolve) => {
      const env = { PATH: process.env.PATH, PORT: String(port) }
      execFile(process.execPath, args, { env }, (error) => resolve(error === null ? 0 : Number(error.code)))
    })
  const asked: (string | undefined)[] = []
  const serve = async (status: number): Promise<Server & { port: number }> => {
    const server = createServer((request, response) => {
      asked.push(request.url)
      response.writeHead(status).end()
    }).listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await once(server, 'listening')
    return Object.assign(server, { port: (server.address() as AddressInfo).port })
  }
  const [up, down, gone] = [await serve(200), await serve(503), await serve(200)]
  gone.close()
  t.same([await ask(up.port), await ask(down.port), await ask(gone.port)], [0, 1, 1], 'the health check')
  t.same(asked, ['/health/live', '/health/live'])
})

t.test('compose.yaml', async (t) => {
  const { keyturn, migrate } = parse(read('compose.yaml'), { merge: true }).services
  t.match(
    { keyturn, migrate },
    { keyturn: { image: 'keyturn', build: '.' }, migrate: { image: 'keyturn', pull_policy: 'never' } }
  )
  t.notOk('build' in migrate, 'one service builds the image')
  for (const { environment, read_only, cap_drop } of [keyturn, migrate]) {
    areSettings(t, environment)
    t.same([read_only, cap_drop], [true, ['ALL']])
  }
  t.equal(migrate.command.join(' '), command('migrate'))
  const { gracefulTimeout } = loadConfig({})
  t.ok(Number.parseInt(keyturn.stop_grace_period, 10) > gracefulTimeout + 5, 'it is not killed before its time')
})

t.test('deploy/systemd', async (t) => {
  const { gracefulTimeout, port, backlog } = loadConfig({})
  const unit = read('deploy/systemd/keyturn.service')
  const valuesOf = (name: string, text = unit) =>
    [...text.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value = '']) => value)
  const pairs = valuesOf('Environment').flatMap((line) => line.split(' '))
  areSettings(t, Object.fromEntries(pairs.map((pair) => pair.split('='))))
  t.same(valuesOf('ExecStart'), [`/usr/bin/${command('serve')}`])
  t.same(valuesOf('ExecReload'), ['/bin/kill -HUP $MAINPID'])
  t.ok(Number(valuesOf('TimeoutStopSec')[0]) > gracefulTimeout + 5)
  const socket = read('deploy/systemd/keyturn.socket')
  t.same(valuesOf('ListenStream', socket), [`127.0.0.1:${port}`])
  t.same(valuesOf('Backlog', socket), [String(backlog)])
})

t.test('deploy/kubernetes.yaml', async (t) => {
  const documents = parseAllDocuments(read('deploy/kubernetes.yaml')).map((each) => each.toJS())
  const [job, deployment, service] = documents
  t.same(
    documents.map(({ kind }) => kind),
    ['Job', 'Deployment', 'Service']
  )
  const pod = deployment.spec.template.spec
  const [[migrate], [keyturn]] = [job.spec.template.spec.containers, pod.containers]
  const given: readonly { name: string; value: string }[] = keyturn.env
  const env = Object.fromEntries(given.map(({ name, value }) => [name, value]))
  areSettings(t, env)
  t.equal(migrate.args.join(' '), command('migrate'))
  t.equal(migrate.image, keyturn.image)
  t.match(keyturn.image, new RegExp(`:${manifest.version}$`))
  const safe = { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } }
  for (const { securityContext } of [migrate, keyturn]) t.same(securityContext, safe)
  for (const { spec } of [job.spec.template, deployment.spec.template]) t.equal(spec.securityContext.runAsNonRoot, true)

  const { port, gracefulTimeout, shutdownDelay } = loadConfig(env)
  t.equal(keyturn.ports[0].containerPort, port)
  t.ok(pod.terminationGracePeriodSeconds >= shutdownDelay + gracefulTimeout + 5)
  t.equal(deployment.spec.strategy.rollingUpdate.maxUnavailable, 0)
  const { app } = await openApp(t)
  for (const probe of [keyturn.startupProbe, keyturn.livenessProbe, keyturn.readinessProbe]) {
    t.equal((await app.inject(probe.httpGet.path)).statusCode, 200, probe.httpGet.path)
    t.equal(probe.httpGet.port, keyturn.ports[0].name)
  }
  t.same(service.spec.selector, deployment.spec.template.metadata.labels)
  t.same(deployment.spec.selector.matchLabels, deployment.spec.template.metadata.labels)
  t.equal(service.spec.ports[0].targetPort, keyturn.ports[0].name)
})

t.test('deploy/nginx.conf', async (t) => {
  const text = read('deploy/nginx.conf')
  const { port, bodyLimit } = loadConfig({})
  t.match(text, `server 127.0.0.1:${port};`)
  t.match(text, `client_max_body_size ${bodyLimit / 1024}k;`)
  const passed = new RegExp(/location ~ (\S+) \{/.exec(text)?.[1] ?? '^$')
  const { app } = await openApp(t, { ISSUER: 'https://auth.example.com' })
  const wellKnown = ['jwks.json', 'oauth-authorization-server', 'openid-configuration'].map(
    (name) => `/.well-known/${name}`
  )
  for (const url of wellKnown) t.equal((await app.inject(url)).statusCode, 200, url)
  for (const url of ['/api/token/', ...wellKnown]) t.match(url, passed)
  for (const url of ['/metrics', '/health/ready', '/readyz', '/apis']) t.notMatch(url, passed)
})

t.test('docs/deploy.md', async (t) => {
  const text = read('docs/deploy.md')
  const known = [...Object.keys(others), 'POSTGRES_PASSWORD']
  for (const [name] of text.matchAll(/\b[A-Z][A-Z0-9]*(_[A-Z0-9]+)+\b/g))
    t.ok(rows.has(name.replace(/_FILE$/, '')) || known.includes(name), `${name} is a setting`)
  const titles = [...text.matchAll(/^## (.+)$/gm)].map(([, title = '']) => title.toLowerCase().replaceAll(' ', '-'))
  for (const [, link = ''] of text.matchAll(/\]\(([^)]+)\)/g)) {
    const [path = '', anchor] = link.split('#')
    if (link.startsWith('https:')) continue
    if (path === '') t.ok(titles.includes(anchor ?? ''), link)
    else t.ok(existsSync(fileURLToPath(new URL(`../../../docs/${path}`, import.meta.url))), link)
  }
})
