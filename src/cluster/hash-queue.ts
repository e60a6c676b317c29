import { requestBounds, Timings } from '../timings.ts'
import type { Child, HashJob, HashResult } from './messages.ts'

interface Call {
  readonly worker: Child
  readonly id: number
  readonly job: HashJob
  /** The id that the hasher gets: ids of two workers may be the same. */
  readonly ticket: number
  /** Whether a hasher has died with this job: it is then tried once more, on another one. */
  readonly isLastTry: boolean
  /** Milliseconds of a monotonic clock. */
  readonly queuedAt: number
  /** Undefined until a hasher works on it. */
  begunAt: number | undefined
}

/** The jobs of a hasher: the first is in progress, the second is prefetched. */
interface Assignment {
  calls: Call[]
  isLeaving: boolean
}

/** One in progress, one prefetched. */
const maxCalls = 2

/** Once no more than this share of the queue is taken, all workers may send jobs again. */
const lowWater = 3 / 4

/**
 * Hands the passwords of all workers to the hashers: one queue for the host, first come, first served.
 *
 * A hasher has one job in progress and one prefetched, which its thread begins by itself. If it requested each job, its core
 * would be idle until the arbiter has answered: some 2 ms of 30 on a quiet machine, and 4 of 55 on a busy one, where workers
 * take precedence. A prefetched job counts as waiting, like those in the queue. But it cannot be taken back, so it may begin
 * one job later than a job that came after it and went to another hasher.
 */
export class HashQueue {
  /** How many jobs may wait while all hashers are busy. */
  capacity: number
  #queue: Call[] = []
  #lastTicket = 0
  readonly #hashers = new Map<Child, Assignment>()
  /** Workers whose job was refused because the queue was full, and that have not been notified of new capacity yet. */
  readonly #refused = new Set<Child>()
  readonly #waits = new Timings({
    name: 'keyturn_hash_queue_duration_seconds',
    help: 'How long passwords waited for a hasher',
    labels: [],
    bounds: requestBounds
  })
  readonly #works = new Timings({
    name: 'keyturn_hash_duration_seconds',
    help: 'How long a hasher worked on a password',
    labels: [],
    bounds: requestBounds
  })

  constructor(capacity: number) {
    this.capacity = capacity
  }

  /** Queues a worker's job. If the queue is full, refuses it at once and announces capacity to the worker later. */
  add(worker: Child, id: number, job: HashJob): void {
    const waiting = this.#countWaiting()
    const isAnyIdle = this.#nextHasher()?.[1].calls.length === 0
    if (waiting >= this.capacity && !isAnyIdle) {
      reply({ worker, id }, { busy: `${waiting} logins are already waiting`, isFull: true })
      this.#refused.add(worker)
      return
    }
    this.#lastTicket += 1
    this.#queue.push({
      worker,
      id,
      job,
      ticket: this.#lastTicket,
      isLastTry: false,
      queuedAt: performance.now(),
      begunAt: undefined
    })
    this.#assign()
  }

  /** The client of a job has disconnected: the job leaves the queue, unless a hasher has it. */
  cancel(worker: Child, id: number): void {
    const call = this.#queue.find((each) => each.worker === worker && each.id === id)
    if (call === undefined) return
    this.#queue = this.#queue.filter((each) => each !== call)
    reply(call, { busy: 'the client has disconnected' })
    this.#announceCapacity()
  }

  /** A worker has exited: its jobs leave the queue. */
  removeWorker(worker: Child): void {
    this.#refused.delete(worker)
    this.#queue = this.#queue.filter((call) => call.worker !== worker)
    this.#announceCapacity()
  }

  /** A hasher is ready for jobs. */
  addHasher(hasher: Child): void {
    this.#hashers.set(hasher, { calls: [], isLeaving: false })
    this.#assign()
    this.#announceCapacity()
  }

  /** Passes on a hasher's result for the job that it got as `ticket`. */
  settle(hasher: Child, ticket: number, result: HashResult): void {
    const assignment = this.#hashers.get(hasher)
    const call = assignment?.calls.find((each) => each.ticket === ticket)
    if (assignment === undefined || call === undefined) return
    assignment.calls = assignment.calls.filter((each) => each !== call)
    if (call.begunAt !== undefined) this.#works.add((performance.now() - call.begunAt) / 1000)
    this.#begin(assignment)
    this.#assign()
    reply(call, result)
    this.#announceCapacity()
  }

  /** A hasher drains or hangs: it gets no further jobs. */
  retireHasher(hasher: Child): void {
    const assignment = this.#hashers.get(hasher)
    if (assignment !== undefined) assignment.isLeaving = true
  }

  /** A hasher has exited: its jobs return to the head of the queue. Hashing a password twice does no harm. */
  removeHasher(hasher: Child): void {
    const assignment = this.#hashers.get(hasher)
    if (assignment === undefined) return
    this.#hashers.delete(hasher)
    const [inWork, ...prefetched] = assignment.calls
    this.#queue.unshift(...prefetched)
    if (inWork?.isLastTry) reply(inWork, { busy: 'two hashers died while hashing this password' })
    else if (inWork !== undefined) this.#queue.unshift({ ...inWork, isLastTry: true, begunAt: undefined })
    this.#assign()
    this.#announceCapacity()
  }

  /** For the metrics: the number of waiting jobs, the capacity, and how long jobs waited and took. */
  measure() {
    return {
      waiting: this.#countWaiting(),
      capacity: this.capacity,
      histograms: [this.#waits.read(), this.#works.read()]
    }
  }

  /** The first job of a hasher is in progress. */
  #begin({ calls: [call] }: Assignment): void {
    if (call === undefined || call.begunAt !== undefined) return
    call.begunAt = performance.now()
    this.#waits.add((call.begunAt - call.queuedAt) / 1000)
  }

  #countWaiting(): number {
    const prefetched = [...this.#hashers.values()].map(({ calls }) => Math.max(0, calls.length - 1))
    return prefetched.reduce((sum, count) => sum + count, this.#queue.length)
  }

  /** The least busy hasher that takes another job. */
  #nextHasher(): [Child, Assignment] | undefined {
    return [...this.#hashers]
      .filter(([, { calls, isLeaving }]) => !isLeaving && calls.length < maxCalls)
      .sort(([, one], [, other]) => one.calls.length - other.calls.length)[0]
  }

  #assign(): void {
    for (let next = this.#nextHasher(); next !== undefined; next = this.#nextHasher()) {
      const call = this.#queue.shift()
      if (call === undefined) return
      const [hasher, { calls }] = next
      calls.push(call)
      this.#begin(next[1])
      hasher.send({ type: 'hash', id: call.ticket, job: call.job })
    }
  }

  /**
   * Announces a free place to one worker, in turn: if it were announced to all of them, several would send a login, and
   * refusing a login so late costs as much as serving it. Below the low-water mark, all workers may send jobs: those that did
   * not use an announced place have no logins waiting.
   */
  #announceCapacity(): void {
    const waiting = this.#countWaiting()
    if (waiting <= this.capacity * lowWater) {
      for (const worker of this.#refused) worker.send({ type: 'capacity' })
      this.#refused.clear()
    }
    const [next] = this.#refused
    if (next === undefined || waiting >= this.capacity) return
    this.#refused.delete(next)
    this.#refused.add(next)
    next.send({ type: 'capacity', places: 1 })
  }
}

const reply = ({ worker, id }: Pick<Call, 'worker' | 'id'>, result: HashResult): void =>
  worker.send({ type: 'hashed', id, result })
