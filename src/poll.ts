/** Runs a task repeatedly until it is closed. */
export interface Poller {
  /** Stops, and resolves when a run in progress has ended. */
  close(): Promise<void>
}

export interface PollOptions {
  readonly intervalMs: number
  /** Called at the first failure after a success: an outage is reported once. */
  readonly onOutage: (error: unknown) => void
}

/** Runs `task` every `intervalMs`, the first time after one interval, and never twice at once. Keeps no process alive. */
export function poll(task: () => unknown, { intervalMs, onOutage }: PollOptions): Poller {
  let isOut = false
  let running: Promise<void> | undefined
  const run = async (): Promise<void> => {
    try {
      await task()
      isOut = false
    } catch (error) {
      if (!isOut) onOutage(error)
      isOut = true
    }
  }
  const timer = setInterval(() => {
    running ??= run().finally(() => {
      running = undefined
    })
  }, intervalMs)
  timer.unref()
  return {
    async close() {
      clearInterval(timer)
      await running
    }
  }
}
