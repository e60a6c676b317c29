import { KeyturnError } from '../errors.ts'
import type { PasswordHasher } from '../passwords/hasher.ts'
import { clientGone } from '../passwords/queue.ts'
import type { HashJob, HashResult, Report } from './messages.ts'

/** How long a worker waits for a hasher, in milliseconds: a client would not wait longer. */
const patience = 15_000

export interface RemoteHasher extends PasswordHasher {
  refuseIfFull(): void
  /** What a hasher answered. */
  settle(id: number, result: HashResult): void
  /** The line, which was full, has room for so many logins; by default for all that come. */
  hearOfRoom(places?: number): void
}

/**
 * The hasher processes, seen from a worker: `tell` carries a job to them, and their answers come back to `settle`. What
 * needs no work (`needsRehash`) is asked of `local`.
 */
export function makeRemoteHasher(local: PasswordHasher, tell: (report: Report) => void): RemoteHasher {
  const pending = new Map<number, (result: HashResult) => void>()
  let lastId = 0
  /**
   * For how many logins there may be room: none from a refusal until it is told of some. It knows nothing else of the
   * line.
   */
  let places = Number.POSITIVE_INFINITY

  const run = async (job: HashJob, signal: AbortSignal | undefined): Promise<string | boolean> => {
    if (signal?.aborted) throw clientGone()
    lastId += 1
    const id = lastId
    // Who gives up may be next in line: only the arbiter knows, and answers then too.
    const drop = (): void => tell({ type: 'unhash', id })
    const timer = setTimeout(() => {
      drop()
      pending.get(id)?.({ busy: 'no hasher answered' })
    }, patience)
    signal?.addEventListener('abort', drop)
    const result = await new Promise<HashResult>((resolve) => {
      pending.set(id, resolve)
      tell({ type: 'hash', id, job })
    })
    signal?.removeEventListener('abort', drop)
    clearTimeout(timer)
    pending.delete(id)
    if ('value' in result) return result.value
    throw new KeyturnError('BUSY', { detail: result.busy, retryAfter: 1 })
  }

  return {
    hash: async (password, signal) => String(await run({ kind: 'hash', password }, signal)),
    verify: async (password, digest, signal) => (await run({ kind: 'verify', password, digest }, signal)) === true,
    needsRehash: (digest) => local.needsRehash(digest),
    refuseIfFull() {
      if (places < 1) throw new KeyturnError('BUSY', { detail: 'the line is full', retryAfter: 1 })
      places -= 1
    },
    settle(id, result) {
      // Not where the answer is awaited: by then it may have heard of room already.
      if ('isFull' in result) places = 0
      pending.get(id)?.(result)
    },
    hearOfRoom(more = Number.POSITIVE_INFINITY) {
      places += more
    }
  }
}
