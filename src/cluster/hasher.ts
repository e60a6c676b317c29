/*
 * A hasher: checks passwords, one at a time, at a lower priority than the workers, so that logins never slow a
 * verification down.
 */
import { readdirSync } from 'node:fs'
import { constants, getPriority, setPriority } from 'node:os'
import { loadConfig } from '../config/load.ts'
import { hasherSettings, makePasswordHasher, type PasswordHasher } from '../passwords/hasher.ts'
import { joinArbiter } from './child.ts'
import type { HashJob, HashResult } from './messages.ts'

let hasher: PasswordHasher | undefined
let isLeaving = false
/** How many it has: one in work, one that libuv's thread takes next. */
let jobs = 0

const arbiter = joinArbiter(
  'hasher',
  (order) => {
    if (order.type === 'hash') void work(order.id, order.job)
    if (order.type === 'drain') leave()
  },
  () => process.exit(isLeaving ? 0 : 1)
)
// Only the arbiter knows when no worker needs it any more, even where a platform signals all processes.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT']) process.on(signal, () => {})

await arbiter.boot(async () => {
  const config = loadConfig(process.env)
  const built = makePasswordHasher(hasherSettings(config))
  // A binary that does not work here shows it now, and not at the first login.
  await built.hash('a password that nobody has')
  stepBack()
  hasher = built
  return { report: { type: 'ready' }, timeout: config.timeout }
})

/**
 * Lets all threads of this process make room for others. Linux counts each thread for itself, and those that hash are libuv's: they
 * were born before, and would go on as if nothing had been said.
 */
function stepBack(): void {
  const threads = process.platform === 'linux' ? readdirSync('/proc/self/task').map(Number) : [0]
  // From where the whole service was put: to go up again takes rights.
  const { PRIORITY_BELOW_NORMAL: step, PRIORITY_LOW: least } = constants.priority
  const priority = Math.min(getPriority() + step, least)
  for (const thread of threads) setPriority(thread, priority)
}

async function work(id: number, job: HashJob): Promise<void> {
  jobs += 1
  const result = await run(job).catch((error: Error): HashResult => ({ busy: error.message }))
  arbiter.tell({ type: 'hashed', id, result })
  jobs -= 1
  if (isLeaving) leave()
}

async function run(job: HashJob): Promise<HashResult> {
  if (hasher === undefined) return { busy: 'the hasher is not ready' }
  const { password } = job
  return { value: job.kind === 'hash' ? await hasher.hash(password) : await hasher.verify(password, job.digest) }
}

/** Ends, after the passwords that it has. What was told is flushed when the channel closes. */
function leave(): void {
  isLeaving = true
  if (jobs === 0 && process.connected) process.disconnect()
}
