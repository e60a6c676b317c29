import { KeyturnError } from '../errors.ts'

export interface QueueLimits {
  /** Tasks that run at the same time. */
  readonly atOnce: number
  /** Tasks that may wait for their turn. */
  readonly waiting: number
}

/**
 * Runs `task` when its turn comes, and gives what it gives. Throws KeyturnError BUSY at once when too many wait
 * already, and when `signal` is aborted before its turn: its result is not needed any more. What has begun is finished.
 */
export type Queue = <T>(task: () => Promise<T>, signal?: AbortSignal) => Promise<T>

/** Said to nobody: why a task was not begun. */
export const clientGone = (): KeyturnError => new KeyturnError('BUSY', { detail: 'the client has gone' })

/** A line of tasks, first come, first served, whose length has a bound: what cannot be done soon is refused now. */
export function makeQueue({ atOnce, waiting }: QueueLimits): Queue {
  const line: (() => void)[] = []
  let running = 0
  const takeTurn = async (signal: AbortSignal | undefined): Promise<void> => {
    if (signal?.aborted) throw clientGone()
    if (running < atOnce) {
      running += 1
      return
    }
    if (line.length >= waiting) throw new KeyturnError('BUSY', { detail: `${waiting} wait already`, retryAfter: 1 })
    await new Promise<void>((resolve, reject) => {
      const begin = (): void => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        line.splice(line.indexOf(begin), 1)
        reject(clientGone())
      }
      signal?.addEventListener('abort', leave)
      line.push(begin)
    })
  }
  // The turn goes straight to the next in line, so nobody who comes in between can take it.
  const passTurn = (): void => {
    const next = line.shift()
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
