/*
 * npm run timing: whether the time of a refused login, or of a request for a password reset, reveals who exists. A real Keyturn,
 * over HTTP, at the costs it comes with; KEYTURN_TRIES (300) tries of each kind, one at a time and in random order within each round, so that
 * whatever else the machine does meets all kinds alike. Running all attempts of one kind after another would measure nothing: on a
 * machine that others use, the medians of two such blocks of the same kind were up to 16 % apart.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { compareRanks, median } from './mann-whitney.ts'

/**
 * The medians may differ by this share, or by as many milliseconds as other processes make a difference of, and a difference of
 * ranks must not be less likely than this to come by chance.
 */
const bounds = { medians: 0.03, ms: 0.2, p: 0.01 }

const tries = Number(process.env.KEYTURN_TRIES ?? 300)
const folder = mkdtempSync(join(tmpdir(), 'keyturn-timing-'))
const ends: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })]
// As it comes, but for the limits: with these nothing would be measured.
const hooks = join(folder, 'hooks.mjs')
writeFileSync(hooks, 'const queue = []; export const onPasswordResetRequested = (...mail) => void queue.push(mail)')
const env = { DATA_DIR: folder, ARGON2_MEMORY: '', ARGON2_TIME: '', LOGIN_BACKOFF: 'off', HOOKS_MODULE: hooks }

/** Names of one length, so that requests are of one length too. */
const aName = (): string => Math.random().toString(36).slice(2, 10).padEnd(8, 'x')
const [known, inactive] = [aName(), aName()]
const kinds: Readonly<Record<string, () => string>> = {
  'known user': () => known,
  'unknown user': aName,
  'inactive user': () => inactive
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 })

/** Milliseconds from the request to the end of its answer. Rejects if that has another status. */
function time(url: string, body: object, status: number): Promise<number> {
  const text = JSON.stringify(body)
  const headers = { 'content-type': 'application/json', 'content-length': text.length }
  return new Promise((resolve, reject) => {
    const began = performance.now()
    const sent = request(url, { method: 'POST', agent, headers }, (answer) => {
      answer.resume().on('end', () => {
        if (answer.statusCode === status) resolve(performance.now() - began)
        else reject(new Error(`${url} answered ${answer.statusCode}`))
      })
    })
    sent.on('error', reject).end(text)
  })
}

/** A kind of measurement: its times by the kind of username. */
type Attempt = (url: string, username: string) => Promise<Readonly<Record<string, number>>>

const attempts: Readonly<Record<string, Attempt>> = {
  login: async (url, username) => ({
    login: await time(`${url}/api/token/`, { username, password: 'wrong horse battery' }, 401)
  }),
  // The user is looked up after the answer, when the next request may already be here.
  reset: async (url, username) => {
    const reset = await time(`${url}/api/password/forgot/`, { username }, 202)
    const next = await time(`${url}/api/token/verify/`, { token: 'x' }, 401)
    // Their work begins up to 250 ms later, and the service accepts a hundred at once.
    await delay(5)
    return { 'password reset': reset, 'request after a password reset': next }
  }
}

const shuffled = <T>(items: readonly T[]): T[] =>
  items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)

/** The times of each measurement by the kind of username, the reference first. */
type Times = Map<string, Map<string, number[]>>

async function measure(url: string, attempt: Attempt): Promise<Times> {
  const times: Times = new Map()
  for (let warmUp = 0; warmUp < 20; warmUp++) await attempt(url, aName())
  for (let round = 0; round < tries; round++) {
    for (const [kind, name] of shuffled(Object.entries(kinds))) {
      for (const [what, ms] of Object.entries(await attempt(url, name()))) {
        const ofKinds = times.get(what) ?? new Map(Object.keys(kinds).map((each) => [each, []]))
        times.set(what, ofKinds)
        ofKinds.get(kind)?.push(ms)
      }
    }
  }
  return times
}

function report(what: string, times: ReadonlyMap<string, number[]>): void {
  const [[, reference] = ['', []]] = times
  console.log(what)
  for (const [kind, values] of times) {
    const share = median(values) / median(reference) - 1
    const { larger, p } = compareRanks(values, reference)
    const areClose = Math.abs(share) <= bounds.medians || Math.abs(median(values) - median(reference)) <= bounds.ms
    const isEqual = areClose && p >= bounds.p
    if (!isEqual) process.exitCode = 1
    console.log(
      `  ${kind.padEnd(16)} ${values.length} tries  median ${median(values).toFixed(2)} ms (${(100 * share).toFixed(2)} %)  ` +
        `the slower one in ${(100 * larger).toFixed(1)} % of pairs, p = ${p.toFixed(3)}  ${isEqual ? 'as a known user' : 'DISTINGUISHABLE'}`
    )
  }
}

try {
  for (const name of [known, inactive, aName()])
    await runKeyturn(['users', 'create', name], env, 'correct horse battery\n')
  await runKeyturn(['users', 'deactivate', inactive], env)
  const { url, stop } = await startKeyturn({ teardown: (end) => ends.push(end) }, env)
  for (const attempt of Object.values(attempts))
    for (const [what, times] of await measure(url, attempt)) report(what, times)
  agent.destroy()
  await stop()
} finally {
  for (const end of ends.toReversed()) await end()
}
