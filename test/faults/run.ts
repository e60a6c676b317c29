/*
 * npm run faults: the long form of the fault suite, some minutes, and its tables: what the clients saw, and which alerts fired.
 * Exits with 1 when an answer was wrong, or the alerts were not those expected.
 * Arguments choose suites by a part of their names: npm run faults -- embedded alerts
 */
import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { findEngines } from '../support/engines.ts'
import { alertHeading, alertRow, playAlerts } from './alerts.ts'
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
const isWanted = (name: string): boolean =>
  wanted.length === 0 || wanted.some((part) => name.toLowerCase().includes(part.toLowerCase()))

const chosen = Object.entries(suites).filter(([name]) => isWanted(name))
if (chosen.length > 0) console.log(heading)
for (const [, play] of chosen) {
  await play('long', (outcome) => {
    console.log(rowOf(outcome))
    for (const message of outcome.wrong) {
      console.error(`wrong: ${message}`)
      process.exitCode = 1
    }
  })
}

if (isWanted('alerts')) {
  console.log(`\n${alertHeading}`)
  await playAlerts((outcome) => {
    console.log(alertRow(outcome))
    for (const alert of [...outcome.missing, ...outcome.unexpected]) {
      console.error(`wrong: ${alert} in ${outcome.name}`)
      process.exitCode = 1
    }
  })
}
