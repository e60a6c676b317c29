/*
 * `node dist/test/run-histories.js 10000 [seed]`: plays random histories with each kind of storage, then each broken rule until it
 * is noticed.
 */
import { playMany } from './histories.ts'
import { mutants, withMutant } from './mutants.ts'
import { storages } from './world.ts'

const [count = '10000', seed] = process.argv.slice(2)
for (const kind of storages) {
  const began = performance.now()
  const found = await playMany({ numRuns: Number(count), ...(seed !== undefined && { seed: Number(seed) }) }, { kind })
  const seconds = ((performance.now() - began) / 1000).toFixed(0)
  console.log(`${found.runs} histories, a storage that is ${kind}, seed ${found.seed}, ${seconds} s:`)
  console.log(found.violations === undefined ? 'no violation' : JSON.stringify(found, null, 2))
  if (found.violations !== undefined) process.exitCode = 1
}
for (const mutant of mutants) {
  const { runs, violations } = await withMutant(mutant, (broken) =>
    playMany({ numRuns: 2000, seed: 1, endOnFailure: true }, broken)
  )
  console.log(
    `${mutant.title}: ${violations === undefined ? 'NOT noticed' : `noticed in history ${runs} by "${violations[0]}"`}`
  )
  if (violations === undefined) process.exitCode = 1
}
