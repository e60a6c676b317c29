/* What a configuration permits although an operator should know about it: at the start, at a reload, and in check-config. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startArbiter } from '../support/arbiter.ts'
import { aDataDir, runKeyturn } from '../support/keyturn.ts'
import { needsRedis, withoutRedis } from '../support/needs.ts'

t.setTimeout(600_000)
const skip = process.env.TEST_REDIS_URL ? 'it needs a server of its own' : withoutRedis()

t.test('an unknown name in ENV_FILE, an evicting Redis and adoption are warnings', { skip }, async (t) => {
  const redis = await needsRedis(t, { tcp: true, args: ['--maxmemory-policy', 'allkeys-lru'] })
  const ENV_FILE = join(aDataDir(t), 'env')
  writeFileSync(ENV_FILE, 'WEB_CONCURRENCY=1\nADOPT_REFRESH_TOKENS=on\nMAX_REQUEST=0\n')
  const unknown = 'ENV_FILE: "MAX_REQUEST" is not a setting and is ignored (did you mean MAX_REQUESTS?)'
  const evicting = /^REDIS_URL: maxmemory-policy is allkeys-lru, .* expected noeviction$/
  const adopting = /^Refresh tokens of Simple JWT are adopted without a time limit .* can log in as any user$/
  const adoptingUntil = /^Refresh tokens of Simple JWT are adopted if issued until 2999-12-31T23:59:59Z .* any user$/
  const env = {
    ENV_FILE,
    DATA_DIR: aDataDir(t),
    REDIS_URL: redis.url,
    SIGNING_KEY: 'a secret that SIGNING_KEY shares with Django'
  }

  const checked = await runKeyturn(['check-config'], env)
  t.equal(checked.code, 0)
  t.match(checked.stderr.trimEnd().split('\n'), [
    `Warning: ${unknown}.`,
    new RegExp(`^Warning: ${adopting.source.slice(1, -1)}\\.$`),
    new RegExp(`^Warning: ${evicting.source.slice(1, -1)}\\.$`)
  ])

  const keyturn = await startArbiter(t, env)
  writeFileSync(ENV_FILE, 'WEB_CONCURRENCY=1\nADOPT_REFRESH_TOKENS=until 2999-12-31\nLEEWEY=0\n')
  const reloaded = keyturn.next('Keyturn reloaded')
  keyturn.child.kill('SIGHUP')
  await reloaded
  t.equal(await keyturn.stop(), 0)
  const warnings = keyturn.lines().flatMap(({ level, msg }) => (level === 'warn' ? [String(msg)] : []))
  const atReload = /^ENV_FILE: "LEEWEY" is not a setting .*did you mean LEEWAY\?/
  t.match(warnings, [unknown, adopting, evicting, atReload, adoptingUntil, evicting])
  t.equal(warnings.length, 6)
})

t.test('a configuration without such faults has no warnings', { skip }, async (t) => {
  const redis = await needsRedis(t, { tcp: true })
  const env = { DATA_DIR: aDataDir(t), REDIS_URL: redis.url, SIGNING_KEY: 'a secret that is not shared with anybody' }
  t.match(await runKeyturn(['check-config'], env), { code: 0, stderr: '' })
  const keyturn = await startArbiter(t, env)
  t.equal(await keyturn.stop(), 0)
  t.same(
    keyturn.lines().filter(({ level }) => level === 'warn'),
    []
  )
})
