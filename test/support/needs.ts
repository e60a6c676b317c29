/** Real servers for one test file: started, given to the file and stopped with it; skipped where there are none. */
import { type Engines, isContinuousIntegration, whyMissing } from './engines.ts'
import { type PostgresOptions, type PostgresServer, startPostgres } from './postgres.ts'
import { type RedisOptions, type RedisServer, startRedis } from './redis.ts'

/** What is used of tap's `t`, a file's own or a subtest's. */
type Suite = {
  plan(count: number, comment?: string): void
  teardown(end: () => unknown): void
  readonly parent?: unknown
}

/**
 * A Redis server for this file, or this subtest, stopped when it ends.
 * Where there is none the file is skipped with the reason, so call it before the first test; in CI it throws.
 * In a subtest give that one `{ skip: withoutRedis() }`.
 */
export async function needsRedis(t: Suite, options: RedisOptions = {}): Promise<RedisServer> {
  return await started(t, 'redis', () => startRedis(options))
}

/** A PostgreSQL server for this file, or this subtest; otherwise as `needsRedis`, with `withoutPostgres()`. */
export async function needsPostgres(t: Suite, options: PostgresOptions = {}): Promise<PostgresServer> {
  return await started(t, 'postgres', () => startPostgres(options))
}

/** Why a subtest that needs Redis must be skipped, for its `skip` option; false when it can run, and always in CI. */
export function withoutRedis(): string | false {
  return reasonToSkip('redis')
}

/** Why a subtest that needs PostgreSQL must be skipped; false when it can run, and always in CI. */
export function withoutPostgres(): string | false {
  return reasonToSkip('postgres')
}

/** Why a subtest that needs Django must be skipped; false when it can run, and always in CI. */
export function withoutDjango(): string | false {
  return reasonToSkip('django')
}

/** Why a subtest that needs a browser must be skipped; false when it can run, and always in CI. */
export function withoutBrowser(): string | false {
  return reasonToSkip('chromium')
}

/** Why a subtest that needs this program must be skipped; false when it can run, and always in CI. */
export function withoutProgram(
  engine: 'fastapi' | 'gunicorn' | 'nginx' | 'haproxy' | 'caddy' | 'prometheus'
): string | false {
  return reasonToSkip(engine)
}

function reasonToSkip(engine: keyof Engines): string | false {
  return !isContinuousIntegration() && (whyMissing(engine) ?? false)
}

async function started<Server extends { stop(): Promise<void> }>(
  t: Suite,
  engine: keyof Engines,
  start: () => Promise<Server>
): Promise<Server> {
  const reason = reasonToSkip(engine)
  if (reason !== false && t.parent === undefined) skipFile(t, reason)
  const server = await start()
  t.teardown(() => server.stop())
  return server
}

/** An empty plan is how tap says "skipped"; what follows in the file would fail without its server. */
function skipFile(t: Suite, reason: string): never {
  t.plan(0, reason)
  process.exit()
}
