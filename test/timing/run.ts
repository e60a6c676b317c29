/*
 * npm run timing: whether the time of a refused login tells who exists. A real Keyturn, over HTTP, at the costs it
 * comes with; KEYTURN_TRIES (300) tries of each kind, one at a time and in random order within each round, so that
 * whatever else the machine does meets all kinds alike. Running all attempts of one kind after another would measure nothing: on a
 * machine that others use, the medians of two such blocks of the same kind were up to 16 % apart.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { compareRanks, median } from './mann-whitney.ts'

/** The medians may differ by so much, and a difference of ranks must not be less likely than this to come by chance. */
const bounds = { medians: 0.03, p: 0.01 }

const tries = Number(process.env.KEYTURN_TRIES ?? 300)
const folder = mkdtempSync(join(tmpdir(), 'keyturn-timing-'))
const ends: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })]
// As it comes, but for the limits: with these nothing would be measured.
const env = { DATA_DIR: folder, ARGON2_MEMORY: '', ARGON2_TIME: '', LOGIN_BACKOFF: 'off' }

/** Names of one length, so that requests are of one length too. */
const aName = (): string => Math.random().toString(36).slice(2, 10).padEnd(8, 'x')
const [known, inactive] = [aName(), aName()]
const kinds: Readonly<Record<string, () => string>> = {
  'wrong password': () => known,
  'unknown user': aName,
  'inactive user': () => inactive
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 })

/** Milliseconds from the request to the end of its answer. Rejects if that is not a refused login. */
function time(url: string, username: string): Promise<number> {
  const text = JSON.stringify({ username, password: 'wrong horse battery' })
  const headers = { 'content-type': 'application/json', 'content-length': text.length }
  return new Promise((resolve, reject) => {
    const began = performance.now()
    const sent = request(`${url}/api/token/`, { method: 'POST', agent, headers }, (answer) => {
      answer.resume().on('end', () => {
        if (answer.statusCode === 401) resolve(performance.now() - began)
        else reject(new Error(`a wrong password was answered ${answer.statusCode}`))
      })
    })
    sent.on('error', reject).end(text)
  })
}

const shuffled = <T>(items: readonly T[]): T[] =>
  items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)

async function measure(url: string): Promise<Map<string, number[]>> {
  const times = new Map(Object.keys(kinds).map((kind) => [kind, [] as number[]]))
  for (let warmUp = 0; warmUp < 20; warmUp++) await time(url, aName())
  for (let round = 0; round < tries; round++) {
    for (const [kind, name] of shuffled(Object.entries(kinds))) times.get(kind)?.push(await time(url, name()))
  }
  return times
}

try {
  for (const name of [known, inactive, aName()])
    await runKeyturn(['users', 'create', name], env, 'correct horse battery\n')
  await runKeyturn(['users', 'deactivate', inactive], env)
  const { url, stop } = await startKeyturn({ teardown: (end) => ends.push(end) }, env)
  const times = await measure(url)
  agent.destroy()
  await stop()
  const [reference = []] = times.values()
  for (const [kind, values] of times) {
    const share = median(values) / median(reference) - 1
    const { larger, p } = compareRanks(values, reference)
    const isEqual = Math.abs(share) <= bounds.medians && p >= bounds.p
    if (!isEqual) process.exitCode = 1
    console.log(
      `${kind.padEnd(16)} ${values.length} tries  median ${median(values).toFixed(2)} ms (${(100 * share).toFixed(2)} %)  ` +
        `the slower one in ${(100 * larger).toFixed(1)} % of pairs, p = ${p.toFixed(3)}  ${isEqual ? 'as a wrong password' : 'DISTINGUISHABLE'}`
    )
  }
} finally {
  for (const end of ends.toReversed()) await end()
}
