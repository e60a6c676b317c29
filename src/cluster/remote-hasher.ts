import { KeyturnError } from '../errors.ts'
import type { PasswordHasher } from '../passwords/hasher.ts'
import { clientGone } from '../passwords/queue.ts'
import type { HashJob, HashResult, Report } from './messages.ts'

/** How long a worker waits for a hasher, in milliseconds. Clients would not wait longer. */
const patience = 15_000

/**
 * A worker's access to the hasher processes: `send` passes a job to the arbiter, and its result is passed to `settle`. `local`
 * answers what takes no work (`needsRehash`).
 */
export class RemoteHasher implements PasswordHasher {
  readonly #local: PasswordHasher
  readonly #send: (report: Report) => void
  readonly #pending = new Map<number, (result: HashResult) => void>()
  #lastId = 0
  /**
   * The number of logins for which the queue may have room, as far as this worker knows: 0 after a refusal, until the arbiter
   * announces capacity.
   */
  #places = Number.POSITIVE_INFINITY

  constructor(local: PasswordHasher, send: (report: Report) => void) {
    this.#local = local
    this.#send = send
  }

  async hash(password: string, signal?: AbortSignal): Promise<string> {
    return String(await this.#run({ kind: 'hash', password }, signal))
  }

  async verify(password: string, digest: string | undefined, signal?: AbortSignal): Promise<boolean> {
    return (await this.#run({ kind: 'verify', password, digest }, signal)) === true
  }

  needsRehash(digest: string): boolean {
    return this.#local.needsRehash(digest)
  }

  /** Throws KeyturnError BUSY when the queue is full, as far as this worker knows. */
  refuseIfFull(): void {
    if (this.#places < 1) throw new KeyturnError('BUSY', { detail: 'the login queue is full', retryAfter: 1 })
    this.#places -= 1
  }

  /** A job's result has arrived. */
  settle(id: number, result: HashResult): void {
    // Set here and not where the result is awaited: by then, the arbiter may have announced capacity already.
    if ('isFull' in result) this.#places = 0
    this.#pending.get(id)?.(result)
  }

  /** The queue, which was full, has room for this number of logins; by default for all. */
  addCapacity(places = Number.POSITIVE_INFINITY): void {
    this.#places += places
  }

  async #run(job: HashJob, signal: AbortSignal | undefined): Promise<string | boolean> {
    if (signal?.aborted) throw clientGone()
    this.#lastId += 1
    const id = this.#lastId
    // The job may have reached a hasher already: only the arbiter knows, and sends a result either way.
    const cancel = (): void => this.#send({ type: 'cancel', id })
    const timer = setTimeout(() => {
      cancel()
      this.settle(id, { busy: `no hasher answered in ${patience / 1000} s` })
    }, patience)
    signal?.addEventListener('abort', cancel)
    const result = await this.#request(id, job)
    signal?.removeEventListener('abort', cancel)
    clearTimeout(timer)
    if ('value' in result) return result.value
    throw new KeyturnError('BUSY', { detail: result.busy, retryAfter: 1 })
  }

  async #request(id: number, job: HashJob): Promise<HashResult> {
    const result = await new Promise<HashResult>((resolve) => {
      this.#pending.set(id, resolve)
      this.#send({ type: 'hash', id, job })
    })
    this.#pending.delete(id)
    return result
  }
}
