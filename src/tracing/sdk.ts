/*
 * Spans by OpenTelemetry's SDK, which reads OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_*, OTEL_BSP_* and the
 * limits of spans from the environment itself. Spans are recorded where Keyturn calls a store or a hasher, and not by patching
 * modules: what they contain is decided here, and a request that is not sampled costs next to nothing (bench/observability.ts).
 *
 * No tracer is registered globally, so an SDK that the operator has loaded is not affected.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { readFileSync } from 'node:fs'
import {
  type Context,
  DiagLogLevel,
  diag,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace
} from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { detectResources, envDetector, type Resource, resourceFromAttributes } from '@opentelemetry/resources'
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  type ReadableSpan,
  type SpanExporter
} from '@opentelemetry/sdk-trace-base'
import type { Logger } from 'pino'
import { makeSampler } from './sampler.ts'
import type { TraceParent } from './traceparent.ts'
import type { RequestSpan, TracedRequest, TracedWork, Tracing } from './tracing.ts'

type TracingLog = Pick<Logger, 'info' | 'warn'>

/** How long a process that exits waits for its spans to be sent, in milliseconds. */
const lastFlush = 1000

const { version } = JSON.parse(readFileSync(new URL(import.meta.resolve('#package')), 'utf8'))

export class SdkTracing implements Tracing {
  readonly #provider: BasicTracerProvider
  readonly #tracer: Tracer
  readonly #isSampled = makeSampler(process.env)
  readonly #current = new AsyncLocalStorage<RecordedSpan>()
  /** How many requests with an asynchronous context are in progress. */
  #contexts = 0

  constructor(log: TracingLog) {
    reportTo(log)
    const exporter = new ReportingExporter(new OTLPTraceExporter(), log)
    this.#provider = new BasicTracerProvider({
      resource: describeProcess(),
      sampler: new AlwaysOnSampler(),
      spanProcessors: [new BatchSpanProcessor(exporter)]
    })
    this.#tracer = this.#provider.getTracer('keyturn', version)
  }

  /**
   * Before Node 24 every promise of a process is slower while it has an asynchronous context, so only recorded requests have
   * one, and the storage is disabled when the last of them has ended.
   */
  begin({ method, route, parent }: TracedRequest, work: (span: RequestSpan | undefined) => void): void {
    if (!this.#isSampled(parent)) {
      work(undefined)
      return
    }
    const attributes = { 'http.request.method': method, ...(route === undefined ? {} : { 'http.route': route }) }
    const startedAt = Date.now()
    const span = this.#tracer.startSpan(
      route === undefined ? method : `${method} ${route}`,
      { kind: SpanKind.SERVER, startTime: startedAt, attributes },
      parent === undefined ? ROOT_CONTEXT : contextOf(parent)
    )
    this.#contexts += 1
    const recorded = new RecordedSpan(this.#tracer, span, startedAt, () => {
      this.#contexts -= 1
      if (this.#contexts === 0) this.#current.disable()
    })
    this.#current.run(recorded, work, recorded)
  }

  record(work: TracedWork): void {
    this.#current.getStore()?.record(work)
  }

  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, lastFlush)
    })
    // A failure has been logged by the exporter.
    await Promise.race([this.#provider.shutdown().catch(() => {}), late])
    clearTimeout(timer)
  }
}

/** Its spans have their times from one clock, so that no child seems to start before its parent. */
class RecordedSpan implements RequestSpan {
  readonly traceId: string
  readonly spanId: string
  readonly #tracer: Tracer
  readonly #span: Span
  readonly #startedAt: number
  readonly #began = performance.now()
  readonly #context: Context
  readonly #onEnd: () => void

  /** `onEnd` is called once, when it has ended. */
  constructor(tracer: Tracer, span: Span, startedAt: number, onEnd: () => void) {
    const { traceId, spanId } = span.spanContext()
    this.traceId = traceId
    this.spanId = spanId
    this.#tracer = tracer
    this.#span = span
    this.#startedAt = startedAt
    this.#context = trace.setSpan(ROOT_CONTEXT, span)
    this.#onEnd = onEnd
  }

  record({ name, ms, call, failure }: TracedWork): void {
    if (!this.#span.isRecording()) return
    const endedAt = this.#now()
    const options = {
      kind: call === undefined ? SpanKind.INTERNAL : SpanKind.CLIENT,
      startTime: endedAt - ms,
      attributes: call === undefined ? {} : { 'db.system.name': call.system, 'db.query.summary': call.summary }
    }
    const child = this.#tracer.startSpan(name, options, this.#context)
    if (failure !== undefined) fail(child, failure)
    child.end(endedAt)
  }

  end({ status, event, result }: Parameters<RequestSpan['end']>[0]): void {
    if (!this.#span.isRecording()) return
    this.#span.setAttribute('http.response.status_code', status)
    if (event !== undefined) this.#span.setAttributes({ 'keyturn.event': event, 'keyturn.result': result })
    if (status >= 500) fail(this.#span, String(status))
    this.#span.end(this.#now())
    this.#onEnd()
  }

  /** Milliseconds since 1970. */
  #now(): number {
    return this.#startedAt + performance.now() - this.#began
  }
}

const contextOf = ({ traceId, spanId, isSampled }: TraceParent): Context =>
  trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
    isRemote: true
  })

function fail(span: Span, type: string): void {
  span.setAttribute('error.type', type)
  span.setStatus({ code: SpanStatusCode.ERROR })
}

/** OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come last and take precedence. */
const describeProcess = (): Resource =>
  resourceFromAttributes({
    'service.name': 'keyturn',
    'service.version': version,
    'process.pid': process.pid
  }).merge(detectResources({ detectors: [envDetector] }))

/** Logs when exports begin to fail, and when they work again, instead of a line for each. */
class ReportingExporter implements SpanExporter {
  readonly #exporter: SpanExporter
  readonly #log: TracingLog
  #isFailing = false

  constructor(exporter: SpanExporter, log: TracingLog) {
    this.#exporter = exporter
    this.#log = log
  }

  export(spans: ReadableSpan[], callback: Parameters<SpanExporter['export']>[1]): void {
    this.#exporter.export(spans, (result) => {
      this.#report(result.code === 0 ? undefined : (result.error ?? new Error('unknown')))
      // Already logged. A processor that received the error would log it again, each time and with a stack trace.
      callback({ code: 0 })
    })
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown()
  }

  #report(error: NodeJS.ErrnoException | undefined): void {
    const isFailing = error !== undefined
    if (isFailing && !this.#isFailing)
      this.#log.warn({ reason: error.message || error.code }, 'traces cannot be sent; spans are dropped')
    if (!isFailing && this.#isFailing) this.#log.info('traces are sent again')
    this.#isFailing = isFailing
  }
}

/** Logs the SDK's warnings about its settings and its queue, each kind once. */
function reportTo(log: TracingLog): void {
  const known = new Set<string>()
  const report = (message: string): void => {
    const kind = message.replace(/\d+/g, '0')
    if (known.has(kind)) return
    known.add(kind)
    log.warn(`OpenTelemetry: ${message}`)
  }
  const silent = (): void => {}
  const logger = { error: report, warn: report, info: silent, debug: silent, verbose: silent }
  diag.setLogger(logger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
}
