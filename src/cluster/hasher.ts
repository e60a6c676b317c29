/*
 * A hasher: checks passwords, one at a time, at a lower priority than the workers, so that logins never slow a
 * verification down.
 */
import { readdirSync } from 'node:fs'
import { constants, getPriority, setPriority } from 'node:os'
import { loadConfig } from '../config/load.ts'
import { hasherSettings, makePasswordHasher, type PasswordHasher } from '../passwords/hasher.ts'
import { ArbiterChannel } from './child.ts'
import type { HashJob, HashResult } from './messages.ts'

let hasher: PasswordHasher | undefined
let isLeaving = false
/** The number of jobs it has: one in progress, and one that libuv's thread takes next. */
let jobs = 0

const arbiter = new ArbiterChannel(
  'hasher',
  (order) => {
    if (order.type === 'hash') void work(order.id, order.job)
    if (order.type === 'drain') leave()
  },
  () => process.exit(isLeaving ? 0 : 1)
)
// Only the arbiter knows when no worker needs this hasher any more, even where a platform signals all processes.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT']) process.on(signal, () => {})

await arbiter.boot(async () => {
  const config = loadConfig(process.env)
  const built = makePasswordHasher(hasherSettings(config))
  // A binary that does not work on this machine fails now, and not at the first login.
  await built.hash('a password that no user has')
  lowerPriority()
  hasher = built
  return { report: { type: 'ready' }, timeout: config.timeout }
})

/**
 * Lowers the priority of every thread of this process. On Linux each thread has its own, and libuv's threads, which do the
 * hashing, exist already: setting it for the process would not change theirs.
 */
function lowerPriority(): void {
  const threads = process.platform === 'linux' ? readdirSync('/proc/self/task').map(Number) : [0]
  const { PRIORITY_BELOW_NORMAL: step, PRIORITY_LOW: lowest } = constants.priority
  // Relative to the priority of the service, which may itself be low: raising a priority requires privileges.
  const priority = Math.min(getPriority() + step, lowest)
  for (const thread of threads) setPriority(thread, priority)
}

async function work(id: number, job: HashJob): Promise<void> {
  jobs += 1
  const result = await run(job).catch((error: Error): HashResult => ({ busy: error.message }))
  arbiter.send({ type: 'hashed', id, result })
  jobs -= 1
  if (isLeaving) leave()
}

async function run(job: HashJob): Promise<HashResult> {
  if (hasher === undefined) return { busy: 'the hasher is not ready' }
  const { password } = job
  return { value: job.kind === 'hash' ? await hasher.hash(password) : await hasher.verify(password, job.digest) }
}

/** Exits once the present jobs are done. Closing the channel flushes the results that were sent. */
function leave(): void {
  isLeaving = true
  if (jobs === 0 && process.connected) process.disconnect()
}
