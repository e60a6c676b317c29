import { availableParallelism } from 'node:os'
import t from 'tap'
import { sizesOf } from '../../../src/cluster/arbiter.ts'
import { loadConfig } from '../../../src/config/load.ts'

t.test('arbiter: how many workers and hashers a configuration asks for', async (t) => {
  const cores = availableParallelism()
  const real = {
    DATABASE_URL: 'postgres://127.0.0.1/x',
    REDIS_URL: 'redis://127.0.0.1',
    KEY_ENCRYPTION_SECRET: 'a secret that is long enough to seal keys'
  }
  const production = { NODE_ENV: 'production' }
  const rows: readonly (readonly [env: Record<string, string>, workers: number, hashers: number])[] = [
    [{}, 1, 1],
    [production, 1, 1],
    [real, 1, 1],
    [{ ...production, ...real }, cores, Math.ceil(cores / 2)],
    [{ ...production, ...real, REDIS_URL: '' }, 1, 1],
    [{ WEB_CONCURRENCY: '5' }, 5, 3],
    [{ ...production, ...real, WEB_CONCURRENCY: '1' }, 1, 1],
    [{ WEB_CONCURRENCY: '2', HASHERS: '4' }, 2, 4]
  ]
  for (const [env, workers, hashers] of rows)
    t.same(sizesOf(loadConfig(env)), { workers, hashers }, JSON.stringify(env))
})
