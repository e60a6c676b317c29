/*
 * Keys are rotated while three processes serve, without an error for clients. The suite rotates twice in 24 seconds;
 * KEYTURN_SECONDS=60 rotates three times in a minute.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import t from 'tap'
import { freePort } from '../support/engines.ts'
import { type RunningKeyturn, runKeyturn, startKeyturn, post } from '../support/keyturn.ts'
import { needsPostgres, needsRedis } from '../support/needs.ts'
import { atMost } from '../support/slack.ts'

const seconds = Number(process.env.KEYTURN_SECONDS ?? 24)
const rotations = seconds < 60 ? 2 : 3
const clients = 4
const password = 'correct horse'

const postgres = await needsPostgres(t, { tcp: true })
const redis = await needsRedis(t, { tcp: true })
const env = {
  DATABASE_URL: postgres.url,
  REDIS_URL: redis.url,
  KEY_ENCRYPTION_SECRET: 'a secret of tests that is long enough to seal keys',
  JWKS_MAX_AGE: '1s'
}

/** A `keyturn serve` at an address that a restart keeps, and a verifier that reads its JWKS. */
interface Served {
  readonly url: string
  readonly start: () => Promise<RunningKeyturn>
  readonly jwks: ReturnType<typeof createRemoteJWKSet>
  running: RunningKeyturn
}

async function serve(): Promise<Served> {
  const port = String(await freePort())
  const start = () => startKeyturn(t, { ...env, PORT: port })
  const running = await start()
  const jwksUrl = new URL(`${running.url}/.well-known/jwks.json`)
  const { headers } = await fetch(jwksUrl)
  const maxAge = Number(/max-age=(\d+)/.exec(headers.get('cache-control') ?? '')?.[1])
  // jose asks again when the set is older than this. Its cooldown of 30 seconds is longer: it never asks on meeting an
  // unknown kid, so a key that signs before every verifier has it fails this test.
  return { url: running.url, start, jwks: createRemoteJWKSet(jwksUrl, { cacheMaxAge: maxAge * 1000 }), running }
}

const kidOf = (token: string): string => decodeProtectedHeader(token).kid ?? ''
const anyOf = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T

async function keyturn(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runKeyturn(args, env, password)
  if (code !== 0) throw new Error(`keyturn ${args.join(' ')}: ${stderr}`)
  return stdout.trim()
}

/** What `keys list` shows, as kids by state. */
async function listKeys(): Promise<Record<string, string[]>> {
  const kids: Record<string, string[]> = { next: [], active: [], retired: [] }
  for (const line of (await keyturn('keys', 'list', '--json')).split('\n')) {
    const { kid, state } = JSON.parse(line) as { kid: string; state: string }
    kids[state]?.push(kid)
  }
  return kids
}

async function until(isSo: () => boolean | Promise<boolean>, limit: number): Promise<number> {
  const began = Date.now()
  while (!(await isSo())) {
    if (Date.now() - began > atMost(limit * 1000)) throw new Error(`not so after ${limit} seconds: ${isSo}`)
    await sleep(50)
  }
  return (Date.now() - began) / 1000
}

await keyturn('migrate')
await keyturn('users', 'create', 'vitor')
const all = await Promise.all([serve(), serve(), serve()])
/** One access token a key, the first it signed. */
const firstOf = new Map<string, string>()

t.test('rotation under load', { timeout: 300_000 }, async (t) => {
  let live: readonly Served[] = all
  let stopping = false
  const counts = { logins: 0, refreshes: 0, verifications: 0, 'by JWKS': 0 }
  const refused: string[] = []
  const lastKid = new Map<Served, string>()
  const tokens: string[] = []

  const count = (what: keyof typeof counts, error?: unknown): void => {
    counts[what]++
    if (error !== undefined) refused.push(`${what}: ${error}`)
  }
  /** A pair by login or refresh, from any process; its access token is what all others are then asked about. */
  const obtain = async (what: 'logins' | 'refreshes', path: string, body: object) => {
    const from = anyOf(live)
    const answer = await post(`${from.url}${path}`, body)
    count(what, answer.status === 200 ? undefined : JSON.stringify(answer))
    const { access = '', refresh = '' } = answer.body
    lastKid.set(from, kidOf(access))
    if (!firstOf.has(kidOf(access))) firstOf.set(kidOf(access), access)
    tokens.push(access)
    return { access, refresh }
  }
  const verify = async ({ url, jwks }: Served, token: string): Promise<void> => {
    const answer = await post(`${url}/api/token/verify/`, { token })
    count('verifications', answer.status === 200 ? undefined : JSON.stringify(answer))
    await jwtVerify(token, jwks, { algorithms: ['ES256'] }).then(
      () => count('by JWKS'),
      (error) => count('by JWKS', error)
    )
  }
  const client = async (): Promise<void> => {
    while (!stopping) {
      let pair = await obtain('logins', '/api/token/', { username: 'vitor', password })
      for (let turn = 0; turn < 20 && !stopping; turn++) {
        pair = await obtain('refreshes', '/api/token/refresh/', { refresh: pair.refresh })
        await Promise.all(live.map((each) => verify(each, pair.access)))
        await Promise.all(live.map((each) => verify(each, anyOf(tokens))))
        await sleep(50)
      }
    }
  }
  const restart = async (served: Served): Promise<void> => {
    live = all.filter((each) => each !== served)
    await sleep(500) // as a load balancer: what is on its way is answered first
    t.equal(await served.running.stop(), 0)
    await sleep(2000)
    served.running = await served.start()
    live = all
  }

  const began = Date.now()
  const traffic = Promise.all(Array.from({ length: clients }, client))
  const waits: number[] = []
  for (let rotation = 0; rotation < rotations; rotation++) {
    await sleep((1000 * seconds * rotation) / rotations - (Date.now() - began))
    const kid = await keyturn('keys', 'rotate')
    // One process is away when the second key is published, and finds it as it starts.
    const restarted = rotation === 1 ? restart(all[1] as Served) : undefined
    waits.push(await until(() => all.every((each) => lastKid.get(each) === kid), 30))
    await restarted
  }
  await sleep(1000 * seconds - (Date.now() - began))
  stopping = true
  await traffic
  t.comment(
    `${((Date.now() - began) / 1000).toFixed(0)} s, ${rotations} rotations, 1 restart: ${JSON.stringify(counts)}, ` +
      `${firstOf.size} kids, every process signed with the new one after ${waits.map((wait) => wait.toFixed(1)).join(', ')} s`
  )
  t.strictSame(refused.slice(0, 10), [], `${refused.length} refused`)
  t.equal(firstOf.size, rotations + 1, 'each key has signed')
  t.ok(counts.refreshes > 10 * clients && counts['by JWKS'] === counts.verifications)
})

t.test('two that rotate at once make one next key', { timeout: 60_000 }, async (t) => {
  const [one, other] = await Promise.all([keyturn('keys', 'rotate'), keyturn('keys', 'rotate')])
  t.equal(one, other)
  const { next, active, retired } = await listKeys()
  const signed = [...firstOf.keys()]
  t.strictSame(next, [one])
  t.strictSame(active, signed.slice(-1))
  t.strictSame(retired?.sort(), signed.slice(0, -1).sort())
})

t.test('a retired key that is taken out is refused by every process', { timeout: 60_000 }, async (t) => {
  const [[kid, token], [, kept]] = [...firstOf] as [[string, string], [string, string]]
  const ask = (about: string) =>
    Promise.all(all.map(async ({ url }) => (await post(`${url}/api/token/verify/`, { token: about })).status))
  t.strictSame(await ask(token), [200, 200, 200])
  await keyturn('keys', 'retire', kid)
  const waited = await until(async () => (await ask(token)).every((status) => status === 401), 5)
  t.comment(`refused everywhere after ${waited.toFixed(1)} s`)
  t.strictSame(await ask(kept), [200, 200, 200], 'the other retired key still verifies')
  for (const { url } of all) {
    const { keys } = (await (await fetch(`${url}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] }
    t.notOk(keys.some((each) => each.kid === kid))
  }
  t.strictSame(await Promise.all(all.map(({ running }) => running.stop())), [0, 0, 0])
})
