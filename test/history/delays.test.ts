import t from 'tap'
import { needsRedis } from '../support/needs.ts'
import type { Replacement } from './clock.ts'
import { openEmbeddedFile, openMemory, openRedisServer } from './delay-stores.ts'
import { type DelayResult, delayPolicy, playDelays } from './delays.ts'
import { chooseSeed } from './run.ts'

/* Clients that come back after hours, and thieves: each store answers as docs/sessions.md says, and faults planted into it are found. */

const seed = chooseSeed()
t.comment(`KEYTURN_HISTORY_SEED=${seed}`)
const server = await needsRedis(t)

const broken = (results: readonly DelayResult[]): readonly string[] => results.flatMap(({ violations }) => violations)

const stores = {
  memory: { open: async () => openMemory(), sessions: 1000 },
  embedded: { open: openEmbeddedFile, sessions: 20 },
  Redis: { open: () => openRedisServer(server), sessions: 40 }
}

for (const [name, { open, sessions }] of Object.entries(stores)) {
  t.test(`${name}: no client that lost an answer is logged out, and thieves are caught`, async (t) => {
    const { opened, close } = await open()
    t.teardown(close)
    const results = await playDelays(opened, { seed, sessions })
    t.same(broken(results), [], `KEYTURN_HISTORY_SEED=${seed}`)
    for (const { story, sessions, asExpected, late } of results) {
      t.equal(asExpected, sessions, story)
      if (story === 'honest' || story === 'shadow') t.ok(late > 0, `${late} late retries`)
    }
  })
}

const late = 'late_generation == generation or generation - late_generation >= 8'
const inTime = 'now - rotated_at > late_retry'

/** A fault for each condition of a late retry, in rotate.lua. */
const mutants: Readonly<Record<string, readonly Replacement[]>> = {
  'there are no late retries': [['if not rotates or presented ~= generation - 1', 'if true']],
  'any ancestor may be late': [['presented ~= generation - 1 or', '']],
  'a late retry may come at any time': [[inTime, 'false']],
  'the last second of late retries is missing': [[inTime, 'now - rotated_at >= late_retry']],
  'late retries go on for a second too long': [[inTime, 'now - rotated_at > late_retry + 1']],
  'late retries are not rationed': [[late, 'true']],
  'a second late retry after seven rotations': [[late, late.replace('8', '7')]],
  'no second late retry after eight rotations': [[late, late.replace('8', '9')]],
  'the same late retry once only': [[late, 'generation - late_generation >= 8']],
  'one late retry a session': [[late, 'late_generation == generation']],
  'a late retry is not remembered': [["verdict, late_generation = 'late', generation", "verdict = 'late'"]],
  'a late retry hands out a new generation': [
    [
      "verdict, late_generation = 'late', generation",
      "verdict, late_generation, generation = 'late', generation, generation + 1"
    ]
  ],
  'a late retry makes the successor young': [
    ["verdict, late_generation = 'late', generation", "verdict, late_generation, rotated_at = 'late', generation, now"]
  ],
  'a late retry is called a retry': [["'late', generation", "'retried', generation"]]
}

for (const [name, faults] of Object.entries(mutants)) {
  t.test(`mutant ${name}: caught`, async (t) => {
    const { opened, close } = await openRedisServer(server, faults)
    t.teardown(close)
    t.not(broken(await playDelays(opened, { seed, sessions: 100 })).length, 0, `KEYTURN_HISTORY_SEED=${seed}`)
  })
}

t.test('mutant verify refuses what a refresh answers late: caught', async (t) => {
  const { opened } = openMemory()
  const verifyPolicy = { ...delayPolicy, lateRetry: 0 }
  t.not(broken(await playDelays(opened, { seed, sessions: 10, verifyPolicy })).length, 0)
})
