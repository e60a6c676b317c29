import { explain } from '../cli/terminal.ts'
import type { Order, Report } from './messages.ts'
import { unheard } from './signals.ts'

/** A worker's or a hasher's line to the arbiter that forked it. */
export interface Arbiter {
  /** Never throws: an arbiter that is gone does not hear it. */
  tell(report: Report): void
  /**
   * Tells what `start` resolves with, and from then on, four times in each `timeout` (seconds; 0 is never), that this
   * process lives. When `start` throws, it tells why, and ends the process.
   */
  boot(start: () => Promise<{ readonly report: Report; readonly timeout: number }>): Promise<void>
}

/**
 * Joins the arbiter as one of its processes: `hear` gets its orders, `lost` is called when it is gone and nobody
 * watches this process any more.
 */
export function joinArbiter(
  kind: 'worker' | 'hasher',
  hear: (order: Order, socket: object | undefined) => void,
  lost: () => void
): Arbiter {
  process.title = `keyturn: ${kind}`
  for (const signal of unheard) process.on(signal, () => {})
  process.on('message', hear)
  process.on('disconnect', lost)
  // The arbiter may have died while this file was loaded: that event is over, and nobody has heard it.
  if (!process.connected) lost()
  const tell = (report: Report): void => {
    if (process.connected) process.send?.(report, undefined, undefined, () => {})
  }
  return {
    tell,
    async boot(start) {
      const refuse = (error: unknown): void => {
        const reason = explain(error)
        if (reason === undefined) console.error(error)
        const words = reason?.words ?? `A ${kind} cannot boot: ${(error as Error).message}`
        process.send?.({ type: 'refused', words }, undefined, undefined, () => process.exit(1))
      }
      // What is thrown where nobody waits for it, as in a timer of a CLAIMS_MODULE, would else end it without a word.
      process.on('uncaughtException', refuse)
      try {
        const { report, timeout } = await start()
        tell(report)
        // From the main thread: a loop that is blocked falls silent.
        if (timeout > 0) setInterval(() => tell({ type: 'beat' }), (timeout * 1000) / 4)
      } catch (error) {
        refuse(error)
      } finally {
        process.off('uncaughtException', refuse)
      }
    }
  }
}
