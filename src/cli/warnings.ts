import { isEmbedded } from '../cluster/arbiter.ts'
import { envFileWarnings } from '../config/env-file.ts'
import type { Config } from '../config/settings.ts'
import { systemClock } from '../time.ts'
import { explainAdoption } from '../tokens/adoption.ts'
import { tracingWarnings } from '../tracing/settings.ts'

/**
 * What an operator should know about a valid configuration, one line each without a full stop. A start and a reload log them, and
 * check-config prints them.
 */
export function warningsOf(config: Config): readonly string[] {
  const adoption = explainAdoption(config, systemClock())
  return [
    ...envFileWarnings(process.env),
    ...tracingWarnings(process.env),
    ...(adoption.isOn ? [adoption.explanation] : []),
    ...(process.env.DYNO !== undefined && isEmbedded(config)
      ? ['DATA_DIR is on the dyno, which loses its files at every restart: set DATABASE_URL and REDIS_URL']
      : [])
  ]
}
