import type { Child, HashJob, HashResult } from './messages.ts'

/**
 * Hands the passwords of all workers to the hashers: one line for the host, first come, first served.
 *
 * A hasher has one job in work and one at hand, which its thread begins by itself. If it asked for each, its core would
 * be idle until the arbiter has heard it and has answered: some 2 ms of 30 on a quiet machine, and 4 of 55 on a busy
 * one, where workers go first. What is at hand waits like those in line, and counts with them; but it cannot be taken
 * back, and may begin later than the next one does with another hasher, by one job.
 */
export interface Hashing {
  /** A worker's question. Answered at once when too many wait already; then it is told when there is room again. */
  ask(worker: Child, id: number, job: HashJob): void
  /** Nobody waits for the answer to a question: it leaves the line, unless a hasher has it. */
  drop(worker: Child, id: number): void
  /** A worker is gone: nobody waits for its answers. */
  forget(worker: Child): void
  /** A hasher is ready for work. */
  join(hasher: Child): void
  /** A hasher's answer to what it was given as `id`. */
  answer(hasher: Child, id: number, result: HashResult): void
  /** A hasher gets no further work; `isGone` when it has died with what it had. */
  leave(hasher: Child, isGone: boolean): void
}

interface Call {
  readonly worker: Child
  readonly id: number
  readonly job: HashJob
  /** What a hasher knows it by: ids of two workers may be the same. */
  readonly ticket: number
  /** A job that has killed a hasher once is not let near a second one again. */
  readonly isLastTry: boolean
}

/** What a hasher has: the first call is in work, the next one at hand. */
interface Hands {
  calls: Call[]
  isLeaving: boolean
}

/** One in work, one at hand. */
const mostInHands = 2

/** A line is short again when no more than this part of it is taken. */
const shortAgain = 3 / 4

/** `most`: how many may wait while all hashers are busy; a reload may change it. */
export function makeHashing(most: () => number): Hashing {
  let line: Call[] = []
  let lastTicket = 0
  const hashers = new Map<Child, Hands>()
  /** Workers that were refused, and have not been told of room yet. */
  const refused = new Set<Child>()

  const waiting = (): number =>
    [...hashers.values()].reduce((sum, { calls }) => sum + Math.max(0, calls.length - 1), line.length)
  /** Who takes another one, the least busy first. */
  const takers = (): [Child, Hands][] =>
    [...hashers]
      .filter(([, { calls, isLeaving }]) => !isLeaving && calls.length < mostInHands)
      .sort(([, one], [, other]) => one.calls.length - other.calls.length)
  /**
   * Tells of a free place: one login may come, of the worker whose turn it is. If all were told, several would come for
   * it; and who is refused that late has cost as much as a login. Once the line is short, all may come: those that were
   * told have none to send.
   */
  const tellRoom = (): void => {
    if (waiting() <= most() * shortAgain) {
      for (const worker of refused) worker.tell({ type: 'room' })
      refused.clear()
    }
    const [next] = refused
    if (next === undefined || waiting() >= most()) return
    refused.delete(next)
    refused.add(next)
    next.tell({ type: 'room', places: 1 })
  }
  const assign = (): void => {
    for (let [taker] = takers(); line.length > 0 && taker !== undefined; [taker] = takers()) {
      const [hasher, { calls }] = taker
      const call = line.shift() as Call
      calls.push(call)
      hasher.tell({ type: 'hash', id: call.ticket, job: call.job })
    }
  }
  const reply = ({ worker, id }: Pick<Call, 'worker' | 'id'>, result: HashResult): void =>
    worker.tell({ type: 'hashed', id, result })

  return {
    ask(worker, id, job) {
      const isAnyIdle = takers()[0]?.[1].calls.length === 0
      const others = waiting()
      if (others >= most() && !isAnyIdle) {
        reply({ worker, id }, { busy: `${others} wait already`, isFull: true })
        refused.add(worker)
        return
      }
      lastTicket += 1
      line.push({ worker, id, job, ticket: lastTicket, isLastTry: false })
      assign()
    },
    drop(worker, id) {
      const isIt = (call: Call): boolean => call.worker === worker && call.id === id
      if (!line.some(isIt)) return
      line = line.filter((call) => !isIt(call))
      reply({ worker, id }, { busy: 'the client has gone' })
      tellRoom()
    },
    forget(worker) {
      refused.delete(worker)
      line = line.filter((call) => call.worker !== worker)
      tellRoom()
    },
    join(hasher) {
      hashers.set(hasher, { calls: [], isLeaving: false })
      assign()
      tellRoom()
    },
    answer(hasher, id, result) {
      const hands = hashers.get(hasher)
      const call = hands?.calls.find(({ ticket }) => ticket === id)
      if (hands === undefined || call === undefined) return
      hands.calls = hands.calls.filter((each) => each !== call)
      assign()
      reply(call, result)
      tellRoom()
    },
    leave(hasher, isGone) {
      const hands = hashers.get(hasher)
      if (hands === undefined) return
      hands.isLeaving = true
      if (!isGone) return
      hashers.delete(hasher)
      const [inWork, ...atHand] = hands.calls
      line.unshift(...atHand)
      // A password can be hashed again by another: nothing was changed by the first try.
      if (inWork?.isLastTry) reply(inWork, { busy: 'two hashers died of it' })
      else if (inWork !== undefined) line.unshift({ ...inWork, isLastTry: true })
      assign()
      tellRoom()
    }
  }
}
