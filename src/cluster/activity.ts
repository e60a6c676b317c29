import { ActivityHistory, type ServiceState } from '../activity.ts'
import { systemClock } from '../time.ts'
import type { Child, Report } from './messages.ts'

/** Keeps the history of all workers for the overview, across reloads. */
export class ActivityKeeper {
  readonly #history = new ActivityHistory(systemClock())
  readonly #state: () => ServiceState

  constructor(state: () => ServiceState) {
    this.#state = state
  }

  /** Handles a worker's report: adds activity, or answers a request for all of it. */
  receive(worker: Child, report: Report): void {
    if (report.type === 'activity')
      this.#history.add({ ...report.activity, hashQueue: this.#state().hashQueue.waiting }, systemClock())
    if (report.type === 'overview')
      worker.send({ type: 'overview', report: { ...this.#history.read(systemClock()), ...this.#state() } })
  }
}
