import type { Child, HashJob, HashResult } from './messages.ts'

/**
 * Hands the passwords of all workers to the hashers: one line for the host, first come, first served.
 *
 * A hasher has one job in work and one at hand, which it begins by itself. If it asked for each, its core would be idle
 * until the arbiter has heard it and has answered: 1 ms of 25 on a quiet machine, and more where workers, who go first,
 * fill the cores. What is at hand waits like those in line and counts with them; it has chosen its hasher, so it may begin
 * later than the next one does with another, by one job at most.
 */
export interface Hashing {
  /** A worker's question. Answered at once when too many wait already; then it is told when there is room again. */
  ask(worker: Child, id: number, job: HashJob): void
  /** Nobody waits for the answer to a question: it is taken back, unless it is being worked on. */
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

/**
 * There is room again when so much of the line is left. Were it told of each place, many more would come than there are
 * places, since who is refused late has cost the worker, the database and the arbiter as much as a login.
 */
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
  const assign = (): void => {
    for (let [taker] = takers(); line.length > 0 && taker !== undefined; [taker] = takers()) {
      const [hasher, { calls }] = taker
      const call = line.shift() as Call
      calls.push(call)
      hasher.tell({ type: 'hash', id: call.ticket, job: call.job })
    }
    if (waiting() > most() * shortAgain) return
    for (const worker of refused) worker.tell({ type: 'room' })
    refused.clear()
  }
  const reply = ({ worker, id }: Pick<Call, 'worker' | 'id'>, result: HashResult): void =>
    worker.tell({ type: 'hashed', id, result })
  /** Takes back what waits and `isMeant`, and gives it. What a hasher has begun a moment ago it answers to nobody. */
  const takeBack = (isMeant: (call: Call) => boolean): readonly Call[] => {
    const taken = line.filter(isMeant)
    line = line.filter((call) => !isMeant(call))
    for (const [hasher, hands] of hashers) {
      const meant = hands.calls.slice(1).filter(isMeant)
      for (const { ticket } of meant) hasher.tell({ type: 'unhash', id: ticket })
      hands.calls = hands.calls.filter((call) => !meant.includes(call))
      taken.push(...meant)
    }
    assign()
    return taken
  }

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
      const taken = takeBack((call) => call.worker === worker && call.id === id)
      for (const call of taken) reply(call, { busy: 'the client has gone' })
    },
    forget(worker) {
      refused.delete(worker)
      takeBack((call) => call.worker === worker)
    },
    join(hasher) {
      hashers.set(hasher, { calls: [], isLeaving: false })
      assign()
    },
    answer(hasher, id, result) {
      const hands = hashers.get(hasher)
      const call = hands?.calls.find(({ ticket }) => ticket === id)
      if (hands === undefined || call === undefined) return
      hands.calls = hands.calls.filter((each) => each !== call)
      assign()
      reply(call, result)
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
    }
  }
}
