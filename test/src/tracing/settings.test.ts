import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Environment } from '../../../src/config/load.ts'
import { otelVariables, readTracing, tracingPackages, tracingWarnings } from '../../../src/tracing/settings.ts'

t.test('traces are on if the exporter or an endpoint is set, and off otherwise', async (t) => {
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }
  const rows: readonly (readonly [env: Environment, isOn: boolean])[] = [
    [{}, false],
    [{ OTEL_SERVICE_NAME: 'auth', OTEL_TRACES_SAMPLER: 'always_on' }, false],
    [{ OTEL_TRACES_EXPORTER: 'otlp' }, true],
    [{ OTEL_TRACES_EXPORTER: ' OTLP ' }, true],
    [{ OTEL_TRACES_EXPORTER: 'none', ...endpoint }, false],
    [endpoint, true],
    [{ OTEL_TRACES_EXPORTER: '', ...endpoint }, true],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://collector/v1/traces' }, true],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: '' }, false],
    [{ OTEL_SDK_DISABLED: 'true', ...endpoint }, false],
    [{ OTEL_SDK_DISABLED: 'TRUE', OTEL_TRACES_EXPORTER: 'otlp' }, false],
    [{ OTEL_SDK_DISABLED: 'false', ...endpoint }, true],
    [{ OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf', ...endpoint }, true]
  ]
  for (const [env, isOn] of rows) t.same(readTracing(env), { isOn }, JSON.stringify(env))
})

t.test('a value that cannot be used turns traces off, with a warning that has no password', async (t) => {
  const rows: readonly (readonly [env: Environment, warning: RegExp])[] = [
    [{ OTEL_TRACES_EXPORTER: 'zipkin' }, /^OTEL_TRACES_EXPORTER: expected otlp or none\. No traces are sent$/],
    [{ OTEL_TRACES_EXPORTER: 'otlp,console' }, /^OTEL_TRACES_EXPORTER: expected otlp or none/],
    [
      { OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      /^OTEL_EXPORTER_OTLP_PROTOCOL: expected http/
    ],
    [{ OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json' }, /PROTOCOL: expected http/],
    [
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' },
      /^OTEL_EXPORTER_OTLP_ENDPOINT: expected a URL that begins with/
    ],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'ftp://me:hunter2@collector' }, /^OTEL_EXPORTER_OTLP_ENDPOINT: expected a URL/],
    [
      { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: '//me:hunter2@collector', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector' },
      /^OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: expected a URL/
    ]
  ]
  for (const [env, expected] of rows) {
    const { isOn, warning = '' } = readTracing(env)
    t.notOk(isOn, JSON.stringify(env))
    t.match(warning, expected)
    t.notMatch(warning, /hunter2/)
    t.same(tracingWarnings(env), [warning])
  }
  t.same(tracingWarnings({}), [])
  t.same(tracingWarnings({ OTEL_TRACES_EXPORTER: 'otlp' }), [])
})

t.test('a value that the SDK would misunderstand turns traces off', async (t) => {
  const otlp = { OTEL_TRACES_EXPORTER: 'otlp' }
  const ratio = { ...otlp, OTEL_TRACES_SAMPLER: 'parentbased_traceidratio' }
  const folder = t.testdir({ 'ca.pem': 'a certificate' })
  execFileSync('mkfifo', [join(folder, 'pipe')])
  const wrong: readonly (readonly [name: string, values: readonly string[], env?: Environment])[] = [
    ['OTEL_TRACES_SAMPLER', ['ratio', 'ALWAYS_ON', 'jaeger_remote', 'parentbased_', 'always_on,always_off']],
    ['OTEL_TRACES_SAMPLER_ARG', ['0,01', '1%', '2', '-1', 'NaN'], ratio],
    ['OTEL_BSP_SCHEDULE_DELAY', ['0', '-1', '1.5', '5s', '99999999999', 'Infinity']],
    ['OTEL_BSP_EXPORT_TIMEOUT', ['0', '99999999999']],
    ['OTEL_EXPORTER_OTLP_TIMEOUT', ['0', '10s', '99999999999']],
    ['OTEL_EXPORTER_OTLP_TRACES_TIMEOUT', ['0', '10s']],
    ['OTEL_BSP_MAX_QUEUE_SIZE', ['0', '-1', 'many']],
    ['OTEL_BSP_MAX_EXPORT_BATCH_SIZE', ['0', '0.5', '1000001']],
    ['OTEL_EXPORTER_OTLP_CERTIFICATE', [join(folder, 'none.pem'), join(folder, 'pipe'), folder]],
    ['OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY', [join(folder, 'none.pem')]]
  ]
  for (const [name, values, env = otlp] of wrong)
    for (const value of values) {
      const { isOn, warning } = readTracing({ ...env, [name]: value })
      t.notOk(isOn, `${name}=${value}`)
      t.match(warning, `${name}: expected `)
    }
  const right: readonly Environment[] = [
    { OTEL_TRACES_SAMPLER: 'always_off', OTEL_TRACES_SAMPLER_ARG: 'unused' },
    { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.01' },
    { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '1e-3' },
    { OTEL_TRACES_SAMPLER: '', OTEL_BSP_SCHEDULE_DELAY: ' ' },
    { OTEL_BSP_SCHEDULE_DELAY: '2147483647', OTEL_BSP_MAX_QUEUE_SIZE: '1', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '1' },
    { OTEL_EXPORTER_OTLP_CERTIFICATE: join(folder, 'ca.pem') }
  ]
  for (const env of right) t.same(readTracing({ ...otlp, ...env }), { isOn: true }, JSON.stringify(env))
})

t.test('without the packages the warning names them and the command', async (t) => {
  const isInstalled = (name: string): boolean => name === '@opentelemetry/api'
  const { isOn, warning } = readTracing({ OTEL_TRACES_EXPORTER: 'otlp' }, isInstalled)
  t.notOk(isOn)
  const missing = tracingPackages.slice(1).join(', ')
  t.equal(warning, `OpenTelemetry: ${missing} not installed; run: npm run add-traces. No traces are sent`)
  t.same(readTracing({}, isInstalled), { isOn: false }, 'they are missed only where traces are wanted')
})

t.test('ENV_FILE may have the variables; the environment wins', async (t) => {
  const folder = t.testdir({ env: 'OTEL_TRACES_EXPORTER=otlp\nOTEL_SERVICE_NAME=file\nPORT=1\n' })
  const env = { ENV_FILE: join(folder, 'env'), OTEL_SERVICE_NAME: 'own', HOST: '::' }
  t.same(otelVariables(env), { OTEL_TRACES_EXPORTER: 'otlp', OTEL_SERVICE_NAME: 'own' })
  t.ok(readTracing(env).isOn)
})

t.test('npm run add-traces installs the versions that are tested', async (t) => {
  const { scripts, devDependencies, peerDependencies, peerDependenciesMeta } = JSON.parse(
    readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8')
  )
  const tested = tracingPackages.map((name) => `${name}@${devDependencies[name]}`)
  t.same(scripts['add-traces'].match(/@opentelemetry\/\S+/g), tested)
  t.same(Object.keys(peerDependencies), tracingPackages)
  t.same(Object.keys(peerDependenciesMeta), tracingPackages)
  t.ok(Object.values<{ optional: boolean }>(peerDependenciesMeta).every(({ optional }) => optional))
})
