import { runArbiter } from '../cluster/arbiter.ts'
import { makeLog } from '../cluster/log.ts'
import { setNonBlocking } from '../cluster/log-output.ts'
import { loadServiceConfig } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { checkSigningKey } from '../keys/import.ts'
import { say } from './terminal.ts'
import { warningsOf } from './warnings.ts'

/**
 * `keyturn serve`: the arbiter with its workers and hashers, until SIGTERM, SIGINT or SIGQUIT.
 * Throws ConfigError for an invalid configuration; exits with 3 when a worker fails to boot.
 */
export async function serve(): Promise<void> {
  process.title = 'keyturn: arbiter'
  const config = loadServiceConfig(process.env, checkSigningKey)
  const log = makeLog(config)
  const warn = (loaded: Config): void => {
    for (const line of warningsOf(loaded)) log.warn(line)
  }
  warn(config)
  const exitCode = await runArbiter(config, {
    log,
    load() {
      const next = loadServiceConfig(process.env, checkSigningKey)
      warn(next)
      return next
    },
    print(reason) {
      setNonBlocking(process.stderr)
      say(reason)
    },
    greet({ url, management, hasNoUsers, workers, hashers }) {
      log.info({ workers, hashers, management }, `Keyturn listens on ${url}`)
      for (const line of welcome(config, url, hasNoUsers)) log.info(line)
    }
  })
  // Immediately: another SIGTERM while Node.js shuts down would kill it and become its exit status.
  process.exit(exitCode)
}

/** With embedded data: where it is stored, and at the first start what to do next. */
function welcome({ databaseUrl, redisUrl, dataDir }: Config, url: string, hasNoUsers: boolean): string[] {
  if (databaseUrl !== undefined) return []
  const lines = [`DATABASE_URL is not set: users and keys are stored in ${dataDir}`]
  if (redisUrl === undefined) lines.push(`REDIS_URL is not set: sessions are stored in ${dataDir}`)
  if (!hasNoUsers) return lines
  const keyturn = process.env.npm_lifecycle_event === 'start' ? 'npm run -s keyturn --' : 'keyturn'
  return [
    ...lines,
    `No users exist yet. In another terminal, create one:  ${keyturn} users create vitor`,
    `Then log in:  curl -d username=vitor -d password=... ${url}/api/token/`
  ]
}
