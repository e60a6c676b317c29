import { ROOT_CONTEXT, trace } from '@opentelemetry/api'
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import t from 'tap'
import { makeSampler } from '../../../src/tracing/sampler.ts'
import { readTraceparent, type TraceParent } from '../../../src/tracing/traceparent.ts'

const variables = [
  {},
  { OTEL_TRACES_SAMPLER: '' },
  ...['always_on', 'always_off', 'parentbased_always_on', 'parentbased_always_off'].map((name) => ({
    OTEL_TRACES_SAMPLER: name
  })),
  ...['traceidratio', 'parentbased_traceidratio'].flatMap((name) =>
    [undefined, '', '0', '0.5', '1'].map((ratio) => ({ OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: ratio }))
  )
]

const parents = ['00', '01'].flatMap((flags) =>
  Array.from({ length: 32 }, (_, index) => {
    // The trace ids are spread over all values that a ratio compares.
    const first = ((index * 0x08000001) >>> 0).toString(16).padStart(8, '0')
    const traceId = `${first}${'0'.repeat(23)}1`
    return readTraceparent({ traceparent: `00-${traceId}-00f067aa0ba902b7-${flags}` }) as TraceParent
  })
)

t.test("a caller's trace is recorded as the SDK's own samplers decide", (t) => {
  for (const env of variables) {
    const before = { ...process.env }
    Object.assign(process.env, env)
    for (const [name, value] of Object.entries(env)) if (value === undefined) delete process.env[name]
    const tracer = new BasicTracerProvider().getTracer('test')
    process.env = before
    const isSampled = makeSampler(env)
    const [ours, theirs] = [
      parents.map(isSampled),
      parents.map(({ traceId, spanId, isSampled }) => {
        const caller = { traceId, spanId, traceFlags: isSampled ? 1 : 0, isRemote: true }
        return tracer.startSpan('test', {}, trace.setSpanContext(ROOT_CONTEXT, caller)).isRecording()
      })
    ]
    t.same(ours, theirs, JSON.stringify(env))
  }
  t.end()
})

t.test('a request without a caller is recorded at the configured ratio', (t) => {
  const count = (OTEL_TRACES_SAMPLER: string, OTEL_TRACES_SAMPLER_ARG?: string): number => {
    const isSampled = makeSampler({ OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG })
    return Array.from({ length: 10_000 }, () => isSampled(undefined)).filter(Boolean).length
  }
  for (const prefix of ['', 'parentbased_']) {
    t.equal(count(`${prefix}always_on`), 10_000)
    t.equal(count(`${prefix}always_off`), 0)
    t.equal(count(`${prefix}traceidratio`, '1'), 10_000)
    t.equal(count(`${prefix}traceidratio`, '0'), 0)
    t.ok(Math.abs(count(`${prefix}traceidratio`, '0.2') - 2000) < 400, 'ten standard deviations')
  }
  t.end()
})
