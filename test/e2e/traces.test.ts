/* Traces: the real SDK in the real workers, and a collector of this file. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { LogLine } from '../support/app.ts'
import { login, logIn, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { aDataDir, post, runKeyturn } from '../support/keyturn.ts'
import { needsPostgres, needsRedis, withoutPostgres, withoutRedis } from '../support/needs.ts'
import { type Collector, type ReceivedSpan, startCollector } from '../support/otlp.ts'

/** Nothing is sent before the end of a process, unless a batch is full: what arrives was flushed. */
const untilTheEnd = { OTEL_BSP_SCHEDULE_DELAY: '3600000' }

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const parentId = '00f067aa0ba902b7'

const requestsOf = (keyturn: RunningArbiter): LogLine[] => keyturn.lines().filter(({ msg }) => msg === 'request')
const childrenOf = ({ spans }: Collector, { spanId }: ReceivedSpan): readonly ReceivedSpan[] =>
  spans.filter((each) => each.parentId === spanId)

/** The only span of this name. Throws if there is none or another. */
function spanNamed({ spans }: Collector, name: string): ReceivedSpan {
  const found = spans.filter((each) => each.name === name)
  if (found.length !== 1) throw new Error(`${found.length} of ${name}: ${spans.map((each) => each.name)}`)
  return found[0] as ReceivedSpan
}

async function send(url: string, method: string, body: string, headers: Record<string, string> = {}): Promise<number> {
  const type = { 'content-type': 'application/json' }
  const answer = await fetch(url, { method, headers: { ...type, ...headers }, ...(body && { body }) })
  await answer.arrayBuffer()
  return answer.status
}

/** POSTs JSON; the body leaves only when the server has the headers, so that it is read later. */
async function sendLate(url: string, body: object): Promise<number | undefined> {
  const headers = { 'content-type': 'application/json', expect: '100-continue' }
  const request = httpRequest(url, { method: 'POST', headers })
  request.flushHeaders()
  await once(request, 'continue')
  request.end(JSON.stringify(body))
  const [response] = await once(request, 'response')
  response.resume()
  return response.statusCode
}

t.test('a request is a span, what it waits for are its children, and the log names both ids', async (t) => {
  const collector = await startCollector(t)
  const keyturn = await startArbiter(t, {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20of-the-collector',
    OTEL_SERVICE_NAME: 'auth',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
    ...untilTheEnd
  })
  const { url } = keyturn
  const { access, refresh } = await logIn(keyturn)
  t.equal(await sendLate(`${url}/api/token/verify/`, { token: access }), 200)
  const headers = { traceparent: `00-${traceId}-${parentId}-01`, authorization: `Bearer ${access}` }
  t.equal(await send(`${url}/api/token/refresh/?key=a-query`, 'POST', JSON.stringify({ refresh }), headers), 200)
  t.equal(await send(`${url}/api/a-path/that-is-not-there`, 'PROPFIND', ''), 404)
  t.equal(await send(`${url}/health/live`, 'GET', ''), 200)
  const refused = { username: 'a-user-name', password: 'a-wrong-password' }
  t.equal(await send(`${url}/api/token/`, 'POST', JSON.stringify(refused), { 'user-agent': 'an-agent' }), 401)
  t.equal(await keyturn.stop(), 0)

  const rotation = spanNamed(collector, 'POST /api/token/refresh')
  t.match(rotation, { traceId, parentId, kind: 2, isError: false })
  t.same(rotation.attributes, {
    'http.request.method': 'POST',
    'http.route': '/api/token/refresh',
    'http.response.status_code': 200,
    'keyturn.event': 'refresh',
    'keyturn.result': 'rotated'
  })
  t.match(rotation.resource, {
    'service.name': 'auth',
    'service.version': /^\d/,
    'deployment.environment.name': 'test'
  })
  const logged = requestsOf(keyturn).find(({ event }) => event === 'refresh')
  t.match(logged, { trace_id: traceId, span_id: rotation.spanId })

  const verification = spanNamed(collector, 'POST /api/token/verify')
  t.match(childrenOf(collector, verification), [{ name: 'SQLite SELECT keyturn_revocations' }])
  const [first] = collector.spans.filter(
    ({ name, attributes }) => name === 'POST /api/token' && attributes['http.response.status_code'] === 200
  )
  const parts = childrenOf(collector, first as ReceivedSpan)
  t.match(first, { parentId: '', name: 'POST /api/token' })
  const stored = parts.find(({ name }) => name === 'SQLite SELECT keyturn_users')
  t.same(stored?.attributes, { 'db.system.name': 'sqlite', 'db.query.summary': 'SELECT keyturn_users' })
  t.equal(stored?.kind, 3)
  t.match(
    parts.find(({ name }) => name === 'check password'),
    { kind: 1, attributes: {}, traceId: first?.traceId }
  )
  for (const span of collector.spans) t.ok(span.startedAt <= span.endedAt, `${span.name} ends after it began`)
  for (const { name, startedAt, endedAt } of parts)
    t.ok(startedAt >= (first?.startedAt ?? 0n) && endedAt <= (first?.endedAt ?? 0n), `${name} is within its request`)

  t.match(spanNamed(collector, '_OTHER').attributes, { 'http.response.status_code': 404 })
  t.notOk(
    collector.spans.some(({ name }) => name.includes('health')),
    'probes are not traced'
  )
  const secrets = [access, refresh, login.username, login.password, 'a-query', 'a-path', ...Object.values(refused)]
  for (const secret of [...secrets, 'an-agent', 'eyJ'])
    t.notOk(collector.bytes().includes(secret), `no span has ${secret.slice(0, 20)}`)
  t.match(collector.headers[0], { authorization: 'Bearer of-the-collector' })
  t.notMatch(keyturn.output().stdout, /of-the-collector/)
  t.equal(keyturn.output().stderr, '')
})

t.test(
  'on servers each caller of a shared query has its span, and a failure has the code of its error',
  {
    skip: withoutRedis() || withoutPostgres()
  },
  async (t) => {
    const collector = await startCollector(t)
    const redis = await needsRedis(t, { tcp: true, own: true })
    const settings = {
      REDIS_URL: redis.url,
      DATABASE_URL: (await needsPostgres(t, { tcp: true })).url,
      KEY_ENCRYPTION_SECRET: 'a secret of tests that is long enough to seal keys'
    }
    t.equal((await runKeyturn(['migrate'], settings)).code, 0)
    const otel = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...untilTheEnd }
    const keyturn = await startArbiter(t, { ...settings, ...otel, WEB_CONCURRENCY: '1', HASHERS: '1' })
    await logIn(keyturn)
    const logins = await Promise.all(Array.from({ length: 4 }, () => post(`${keyturn.url}/api/token/`, login)))
    const refreshAll = () =>
      Promise.all(logins.map(({ body }) => post(`${keyturn.url}/api/token/refresh/`, { refresh: body.refresh ?? '' })))
    t.same(
      (await refreshAll()).map(({ status }) => status),
      [200, 200, 200, 200]
    )
    await redis.kill()
    t.same(
      (await refreshAll()).map(({ status }) => status),
      [503, 503, 503, 503]
    )
    t.equal(await keyturn.stop(), 0)

    const refreshes = collector.spans.filter(({ name }) => name === 'POST /api/token/refresh')
    const [served, failed] = [refreshes.filter(({ isError }) => !isError), refreshes.filter(({ isError }) => isError)]
    t.equal(served.length, 4)
    for (const each of served) {
      const names = childrenOf(collector, each).map(({ name }) => name)
      t.ok(names.includes('Redis rotate') && names.includes('PostgreSQL SELECT keyturn_users'), `${names}`)
    }
    t.equal(failed.length, 4)
    for (const each of failed) {
      t.match(each.attributes, { 'error.type': '503', 'keyturn.result': 'store_down' })
      const rotation = childrenOf(collector, each).find(({ name }) => name === 'Redis rotate')
      t.match(rotation, {
        isError: true,
        kind: 3,
        attributes: { 'db.system.name': 'redis', 'error.type': 'STORE_DOWN' }
      })
    }
  }
)

t.test('the sampler is that of the variables; by default the caller decides', async (t) => {
  const collector = await startCollector(t)
  const keyturn = await startArbiter(t, {
    OTEL_TRACES_EXPORTER: 'otlp',
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces`,
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0',
    ...untilTheEnd
  })
  const verify = (headers: Record<string, string>) =>
    send(`${keyturn.url}/api/token/verify/`, 'POST', '{"token":"x"}', headers)
  for (const flags of ['01', '00']) await verify({ traceparent: `00-${traceId}-${parentId}-${flags}` })
  await verify({})
  t.equal(await keyturn.stop(), 0)
  t.match(collector.spans, [{ name: 'POST /api/token/verify', traceId, parentId }])
  t.equal(collector.spans.length, 1)
  // In any order: the workers may write their lines later than each other.
  const ids = requestsOf(keyturn).map(({ span_id }) => String(span_id))
  t.same(
    ids.toSorted(),
    [String(collector.spans[0]?.spanId), parentId, 'undefined'].toSorted(),
    'a request that is not sampled has the ids of its caller'
  )
})

t.test('without the variables nothing of OpenTelemetry is loaded', async (t) => {
  const recorder = fileURLToPath(new URL('../support/record-imports.js', import.meta.url))
  const importedBy = async (t: Test, env: Record<string, string>): Promise<string> => {
    const file = join(aDataDir(t), 'imports')
    const keyturn = await startArbiter(t, { NODE_OPTIONS: `--import=${recorder}`, RECORD_IMPORTS: file, ...env })
    await logIn(keyturn)
    t.equal(await keyturn.stop(), 0)
    return readFileSync(file, 'utf8')
  }
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' }
  const on = await importedBy(t, endpoint)
  t.match(on, /^@opentelemetry\/sdk-trace-base$/m, 'the recorder sees it where it is loaded')
  for (const env of [{}, { OTEL_SDK_DISABLED: 'true', ...endpoint }, { OTEL_TRACES_EXPORTER: 'none', ...endpoint }]) {
    const imported = await importedBy(t, env)
    t.match(imported, /^fastify$/m)
    t.notMatch(imported, /opentelemetry|tracing\/sdk/)
  }
})

t.test('a faulty collector delays no request and no stop, and is one line in the log', async (t) => {
  const answers: Readonly<Record<string, Parameters<typeof startCollector>[1]>> = {
    'does not answer': () => {},
    'answers 500': (response) => response.writeHead(500).end(),
    'answers nonsense': (response) => response.writeHead(200).end('nonsense'),
    'breaks the connection': (response) => response.destroy()
  }
  const urls = await Promise.all(
    Object.entries(answers).map(async ([fault, answer]) => [fault, (await startCollector(t, answer)).url] as const)
  )
  for (const [fault, endpoint] of [...urls, ['does not exist', 'http://127.0.0.1:9'] as const]) {
    const keyturn = await startArbiter(t, {
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_BSP_SCHEDULE_DELAY: '1',
      // Only our own limit can end the wait in time.
      OTEL_EXPORTER_OTLP_TIMEOUT: '300000',
      OTEL_BSP_EXPORT_TIMEOUT: '300000',
      GRACEFUL_TIMEOUT: '300',
      WEB_CONCURRENCY: '1'
    })
    const { access } = await logIn(keyturn)
    for (let each = 0; each < 20; each++)
      t.equal((await post(`${keyturn.url}/api/token/verify/`, { token: access })).status, 200)
    if (fault === 'does not exist') await until(() => warnings(keyturn).length > 0, 'the failure is logged')
    const began = performance.now()
    t.equal(await keyturn.stop(), 0, `a collector that ${fault}`)
    t.ok(performance.now() - began < 60_000)
    t.ok(warnings(keyturn).length <= 1, `${warnings(keyturn).length} lines`)
    t.equal(keyturn.output().stderr, '')
  }
})

const warnings = (keyturn: RunningArbiter): readonly LogLine[] =>
  keyturn.lines().filter(({ level }) => level === 'warn')

t.test('a value that cannot be used is a line at the start, and the service runs without traces', async (t) => {
  const keyturn = await startArbiter(t, { OTEL_TRACES_EXPORTER: 'zipkin', OTEL_TRACES_SAMPLER: 'x' })
  await logIn(keyturn)
  t.same(
    warnings(keyturn).map(({ msg }) => msg),
    ['OTEL_TRACES_EXPORTER: expected otlp or none. No traces are sent']
  )
  const { code, stderr } = await runKeyturn(['check-config'], { ...keyturn.settings, OTEL_TRACES_EXPORTER: 'zipkin' })
  t.equal(code, 0)
  t.match(stderr, /^Warning: OTEL_TRACES_EXPORTER: expected otlp or none\. No traces are sent\.$/m)
})

t.test('ENV_FILE may have the variables, a reload applies them, and the SDK logs what it ignores', async (t) => {
  const collector = await startCollector(t)
  const folder = t.testdir({ env: 'WEB_CONCURRENCY=1\nOTEL_SERVICE_NAME=from-a-file\n' })
  const keyturn = await startArbiter(t, { ENV_FILE: join(folder, 'env'), ...untilTheEnd })
  await logIn(keyturn)
  t.same(warnings(keyturn), [])
  t.testdir({
    env: `WEB_CONCURRENCY=1\nOTEL_SERVICE_NAME=from-a-file\nOTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=x\nOTEL_EXPORTER_OTLP_ENDPOINT=${collector.url}\n`
  })
  process.kill(keyturn.pid, 'SIGHUP')
  // The old worker still answers on the connection that this process keeps open.
  await until(() => keyturn.lives('worker')[0]?.exitedAt !== undefined, 'the old worker has exited')
  t.equal((await post(`${keyturn.url}/api/token/`, login)).status, 200)
  t.equal(await keyturn.stop(), 0)
  t.match(spanNamed(collector, 'POST /api/token').resource, { 'service.name': 'from-a-file' })
  t.match(
    warnings(keyturn).map(({ msg }) => msg),
    [/^OpenTelemetry: Unknown value .x. for OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT/]
  )
})
