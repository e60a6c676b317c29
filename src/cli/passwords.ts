import { type Argon2Costs, makeArgon2Writer } from '../passwords/argon2.ts'
import { type CalibrationLimits, calibrate, isWeak } from '../passwords/calibration.ts'
import { print, say } from './terminal.ts'

/** The number of runs, of which the fastest counts, since other work on the machine can only slow a hash down. */
const runs = 9

/**
 * `keyturn passwords calibrate`: prints settings for this machine as NAME=value lines, and their consequences on standard
 * error.
 */
export async function calibratePasswords({ json, ...limits }: CalibrationLimits & { json?: boolean }): Promise<void> {
  const { costs, ms } = await calibrate(limits, measure)
  const perSecond = Math.round(10_000 / ms) / 10
  const megabytes = Math.round(costs.memory / 1024)
  if (json === true) {
    const { memory, time, parallelism } = costs
    const facts = { ms: Math.round(ms), logins_per_second_per_core: perSecond, memory_per_hasher_mib: megabytes }
    print(JSON.stringify({ argon2_memory: memory, argon2_time: time, argon2_parallelism: parallelism, ...facts }))
  } else {
    for (const [name, value] of Object.entries(costs)) print(`ARGON2_${name.toUpperCase()}=${value}`)
    say(
      `A hash takes ${Math.round(ms)} ms on this machine: ${perSecond} logins per second on a core that does nothing else. ` +
        `Each hasher (HASHERS) needs ${megabytes} MiB of memory.`
    )
  }
  if (ms > limits.targetMs) say(`That exceeds the target of ${limits.targetMs} ms, but these are the lowest settings.`)
  if (isWeak(costs))
    say('These settings are weaker than OWASP recommends (19 MiB and 2 passes, or equivalent): raise --target.')
}

/** Milliseconds that a hash of these costs takes. */
async function measure(costs: Argon2Costs): Promise<number> {
  const writer = makeArgon2Writer(costs)
  let fastest = Number.POSITIVE_INFINITY
  for (let run = 0; run < runs; run++) {
    const began = performance.now()
    await writer.hash('a password for calibration')
    fastest = Math.min(fastest, performance.now() - began)
  }
  return fastest
}
