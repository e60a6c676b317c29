import t from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import type { Argon2Costs } from '../../../src/passwords/argon2.ts'
import { calibrate, isWeak } from '../../../src/passwords/calibration.ts'

/** A machine that takes so many milliseconds for a pass over a MiB, and as many for each password. */
const aMachine = (msPerMiB: number, overhead = 1) => {
  const measured: Argon2Costs[] = []
  const measure = async (costs: Argon2Costs): Promise<number> => {
    measured.push(costs)
    return overhead + (costs.memory / 1024) * costs.time * msPerMiB
  }
  return { measure, measured }
}

t.test('all the memory that may be, and as many passes as fit', async (t) => {
  for (const [msPerMiB, targetMs, memory, expected] of [
    [0.7, 250, 65_536, { memory: 65_536, time: 5 }],
    [0.7, 100, 65_536, { memory: 65_536, time: 2 }],
    [0.7, 40, 65_536, { memory: 32_768, time: 1 }],
    [0.7, 250, 19_456, { memory: 19_456, time: 18 }],
    [10, 250, 65_536, { memory: 16_384, time: 1 }],
    [0.001, 250, 65_536, { memory: 65_536, time: 64 }],
    [1000, 250, 65_536, { memory: 8192, time: 1 }],
    [0.7, 250, 8192, { memory: 8192, time: 44 }]
  ] as const) {
    const { measure } = aMachine(msPerMiB)
    const { costs, ms } = await calibrate({ targetMs, memory }, measure)
    t.same(costs, { ...expected, parallelism: 1 }, `${msPerMiB} ms for a MiB, ${targetMs} ms`)
    t.equal(ms, await measure(costs))
    t.ok(ms <= targetMs || (costs.memory === 8192 && costs.time === 1))
  }
})

t.test('what was estimated is measured', async (t) => {
  // Each pass takes longer than the first one.
  const measure = async ({ time }: Argon2Costs) => 40 * time ** 1.5
  const { costs, ms } = await calibrate({ targetMs: 250, memory: 65_536 }, measure)
  t.equal(costs.time, 3)
  t.equal(ms, await measure(costs))
})

t.test('what OWASP advises at least', async (t) => {
  const { argon2Memory: memory, argon2Time: time } = loadConfig({})
  for (const good of [
    { memory, time },
    { memory: 47_104, time: 1 },
    { memory: 9216, time: 4 },
    { memory: 65_536, time: 3 }
  ])
    t.equal(isWeak({ ...good, parallelism: 1 }), false)
  for (const weak of [
    { memory: 8192, time: 1 },
    { memory: 19_456, time: 1 },
    { memory: 8192, time: 4 }
  ])
    t.equal(isWeak({ ...weak, parallelism: 1 }), true)
})
