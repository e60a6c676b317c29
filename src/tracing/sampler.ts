import { ROOT_CONTEXT } from '@opentelemetry/api'
import { SamplingDecision, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace-base'
import type { Environment } from '../config/load.ts'
import type { TraceParent } from './traceparent.ts'

/** Whether a request is recorded; `parent` is the caller's span, if it sent one. */
export type IsSampled = (parent: TraceParent | undefined) => boolean

/**
 * Decides as the SDK's own samplers do, with the variables OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG, but before there is a
 * span: to create one that is not recorded would cost a tenth of a verification (bench/observability.ts).
 */
export function makeSampler({ OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG }: Environment): IsSampled {
  const name = OTEL_TRACES_SAMPLER?.trim() || 'parentbased_always_on'
  const share = name.endsWith('ratio') ? Number(OTEL_TRACES_SAMPLER_ARG?.trim() || 1) : Number(name.endsWith('on'))
  const byTraceId = new TraceIdRatioBasedSampler(share)
  return (parent) => {
    if (parent === undefined) return Math.random() < share
    if (name.startsWith('parentbased_')) return parent.isSampled
    return byTraceId.shouldSample(ROOT_CONTEXT, parent.traceId).decision === SamplingDecision.RECORD_AND_SAMPLED
  }
}
