import type { Logger } from 'pino'
import type { Environment } from '../config/load.ts'
import { otelVariables, readTracing } from './settings.ts'
import type { Tracing } from './tracing.ts'

/**
 * Opens traces as configured by the OTEL_* variables in `own` and in its ENV_FILE. Returns undefined if they are off; then no
 * module of OpenTelemetry is loaded. Never throws: an error is logged, and the service runs without traces.
 */
export async function openTracing(own: Environment, log: Pick<Logger, 'info' | 'warn'>): Promise<Tracing | undefined> {
  // The arbiter has logged why, once for all workers.
  if (!readTracing(own).isOn) return undefined
  try {
    // The SDK reads its settings from the environment of the process.
    Object.assign(process.env, otelVariables(own))
    const { SdkTracing } = await import('./sdk.ts')
    return new SdkTracing(log)
  } catch (error) {
    log.warn({ err: error }, 'OpenTelemetry could not be started; no traces are sent')
    return undefined
  }
}
