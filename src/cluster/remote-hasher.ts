import { KeyturnError } from '../errors.ts'
import type { PasswordHasher } from '../passwords/hasher.ts'
import type { HashJob, HashResult } from './messages.ts'

/** How long a worker waits for a hasher, in milliseconds: a client would not wait longer. */
const patience = 20_000

export interface RemoteHasher extends PasswordHasher {
  /** What a hasher answered. */
  settle(id: number, result: HashResult): void
}

/**
 * The hasher processes, seen from a worker: `ask` carries a job to them, and their answers come back to `settle`. What
 * needs no work (`needsRehash`) is asked of `local`.
 */
export function makeRemoteHasher(local: PasswordHasher, ask: (id: number, job: HashJob) => void): RemoteHasher {
  const pending = new Map<number, (result: HashResult) => void>()
  let lastId = 0

  const run = async (job: HashJob): Promise<string | boolean> => {
    lastId += 1
    const id = lastId
    const timer = setTimeout(() => pending.get(id)?.({ busy: 'no hasher answered' }), patience)
    const result = await new Promise<HashResult>((resolve) => {
      pending.set(id, resolve)
      ask(id, job)
    })
    clearTimeout(timer)
    pending.delete(id)
    if ('busy' in result) throw new KeyturnError('BUSY', { detail: result.busy, retryAfter: 1 })
    return result.value
  }

  return {
    hash: async (password) => String(await run({ kind: 'hash', password })),
    verify: async (password, digest) => (await run({ kind: 'verify', password, digest })) === true,
    needsRehash: (digest) => local.needsRehash(digest),
    settle: (id, result) => pending.get(id)?.(result)
  }
}
