import { isContinuousIntegration } from './engines.ts'

/**
 * The upper bound of a duration, in milliseconds, as a test may hold it against the service. A machine that others
 * share can stall for seconds: there the bound is five times as long, and still tells an answer from a time-out that is
 * missing.
 */
export const atMost = (ms: number): number => (isContinuousIntegration() ? 5 * ms : ms)
