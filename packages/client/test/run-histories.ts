/* `node dist/test/run-histories.js 10000 [seed]`: plays random histories, then each broken rule until it is noticed. */
import { playMany } from './histories.ts'
import { mutants, withMutant } from './mutants.ts'

const [count = '10000', seed] = process.argv.slice(2)
const began = performance.now()
const found = await playMany({ numRuns: Number(count), ...(seed !== undefined && { seed: Number(seed) }) })
console.log(`${found.runs} histories, seed ${found.seed}, ${((performance.now() - began) / 1000).toFixed(0)} s:`)
console.log(found.violations === undefined ? 'no violation' : JSON.stringify(found, null, 2))
process.exitCode = found.violations === undefined ? 0 : 1
for (const mutant of mutants) {
  const { runs, violations } = await withMutant(mutant, () =>
    playMany({ numRuns: 2000, seed: 1, endOnFailure: true }, mutant)
  )
  console.log(
    `${mutant.title}: ${violations === undefined ? 'NOT noticed' : `noticed in history ${runs} by "${violations[0]}"`}`
  )
  if (violations === undefined) process.exitCode = 1
}
