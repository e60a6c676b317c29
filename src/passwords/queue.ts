import { KeyturnError } from '../errors.ts'

export interface QueueLimits {
  /** Tasks that run at the same time. */
  readonly concurrency: number
  /** Tasks that may wait for their turn. */
  readonly waiting: number
}

/**
 * Runs `task` in its turn and returns its result. Throws KeyturnError BUSY at once if the queue is full, and if `signal` is
 * aborted before the task begins. A running task is not interrupted.
 */
export type Queue = <T>(task: () => Promise<T>, signal?: AbortSignal) => Promise<T>

/** The reason why an aborted task did not begin; no client receives it. */
export const clientGone = (): KeyturnError => new KeyturnError('BUSY', { detail: 'the client has disconnected' })

/** A bounded first-in, first-out queue: a task that could not begin soon is refused at once. */
export function makeQueue({ concurrency, waiting }: QueueLimits): Queue {
  const pending: (() => void)[] = []
  let running = 0
  const takeTurn = async (signal: AbortSignal | undefined): Promise<void> => {
    if (signal?.aborted) throw clientGone()
    if (running < concurrency) {
      running += 1
      return
    }
    if (pending.length >= waiting) throw new KeyturnError('BUSY', { detail: `${waiting} are waiting`, retryAfter: 1 })
    await new Promise<void>((resolve, reject) => {
      const begin = (): void => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        pending.splice(pending.indexOf(begin), 1)
        reject(clientGone())
      }
      signal?.addEventListener('abort', leave)
      pending.push(begin)
    })
  }
  // The slot passes directly to the next task, so that no later call can take it.
  const passTurn = (): void => {
    const next = pending.shift()
    if (next === undefined) running -= 1
    else next()
  }
  return async (task, signal) => {
    await takeTurn(signal)
    try {
      return await task()
    } finally {
      passTurn()
    }
  }
}
