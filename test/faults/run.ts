/*
 * npm run faults: the long form of the fault suite, some minutes, and its table. Exits with 1 when an answer was wrong.
 * Arguments choose suites by a part of their names: npm run faults -- embedded
 */
import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { findEngines } from '../support/engines.ts'
import { suites } from './faults.ts'
import { heading, rowOf } from './table.ts'

const wanted = process.argv.slice(2)
const engines = findEngines()
const versionOf = (program = ''): string =>
  /\d+\.[\d.]+/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))?.[0] ?? ''

console.log(
  `Node ${process.version}, Redis ${versionOf(engines.redis)}, PostgreSQL ${versionOf(engines.postgres?.postgres)},`,
  `${cpus().length} cores, ${cpus()[0]?.model}`
)
console.log(heading)
for (const [name, play] of Object.entries(suites)) {
  if (wanted.length > 0 && !wanted.some((part) => name.toLowerCase().includes(part.toLowerCase()))) continue
  await play('long', (outcome) => {
    console.log(rowOf(outcome))
    for (const message of outcome.wrong) {
      console.error(`wrong: ${message}`)
      process.exitCode = 1
    }
  })
}
