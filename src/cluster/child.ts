import { explain } from '../errors.ts'
import type { Order, Report } from './messages.ts'
import { ignoredByChildren } from './signals.ts'

export type Kind = 'worker' | 'hasher'

/** A worker's or a hasher's channel to the arbiter that forked it. */
export class ArbiterChannel {
  readonly #kind: Kind

  /**
   * Joins the arbiter as one of its processes. `onOrder` gets its orders; `onLost` is called when the arbiter has died, so
   * that nothing supervises this process any more.
   */
  constructor(kind: Kind, onOrder: (order: Order, socket: object | undefined) => void, onLost: () => void) {
    this.#kind = kind
    process.title = `keyturn: ${kind}`
    for (const signal of ignoredByChildren) process.on(signal, () => {})
    process.on('message', onOrder)
    process.on('disconnect', onLost)
    // The arbiter may have died while this file was loaded, before anything listened for the event.
    if (!process.connected) onLost()
  }

  /** Never throws: a report to an arbiter that has died is lost. */
  send(report: Report): void {
    if (process.connected) process.send?.(report, undefined, undefined, () => {})
  }

  /**
   * Reports what `start` resolves with, and from then on four heartbeats in each `timeout` (seconds; 0 is none). When
   * `start` throws, reports why and exits.
   */
  async boot(start: () => Promise<{ readonly report: Report; readonly timeout: number }>): Promise<void> {
    const refuse = (error: unknown): void => this.#refuse(error)
    // An error that nothing awaits, as in a timer of a CLAIMS_MODULE, would otherwise end the process without a reason.
    process.on('uncaughtException', refuse)
    try {
      const { report, timeout } = await start()
      this.send(report)
      // Sent from the main thread, so that a blocked event loop sends none.
      if (timeout > 0) setInterval(() => this.send({ type: 'heartbeat' }), (timeout * 1000) / 4)
    } catch (error) {
      refuse(error)
    } finally {
      process.off('uncaughtException', refuse)
    }
  }

  #refuse(error: unknown): void {
    const explained = explain(error)
    if (explained === undefined) console.error(error)
    const reason = explained?.message ?? `A ${this.#kind} failed to boot: ${(error as Error).message}`
    process.send?.({ type: 'refused', reason }, undefined, undefined, () => process.exit(1))
  }
}
