import type { Child, HashJob, HashResult } from './messages.ts'

/** Hands the passwords of all workers to the hashers: one line for the host, first come, first served. */
export interface Hashing {
  /** A worker's question. Answered at once when too many wait already. */
  ask(worker: Child, id: number, job: HashJob): void
  /** Nobody waits for the answer to a question: it leaves the line, unless it is being worked on. */
  drop(worker: Child, id: number): void
  /** A worker is gone: nobody waits for its answers. */
  forget(worker: Child): void
  /** A hasher is ready for work. */
  join(hasher: Child): void
  /** A hasher's answer. */
  answer(hasher: Child, result: HashResult): void
  /** A hasher gets no further work; `isGone` when it has died with what it had. */
  leave(hasher: Child, isGone: boolean): void
}

interface Call {
  readonly worker: Child
  readonly id: number
  readonly job: HashJob
  /** A job that has killed a hasher once is not let near a second one again. */
  readonly isLastTry: boolean
}

/** `most`: how many may wait while all hashers are busy; a reload may change it. */
export function makeHashing(most: () => number): Hashing {
  let line: Call[] = []
  const idle = new Set<Child>()
  const busy = new Map<Child, Call>()
  const leaving = new Set<Child>()

  const assign = (): void => {
    for (const hasher of idle) {
      const call = line.shift()
      if (call === undefined) return
      idle.delete(hasher)
      busy.set(hasher, call)
      hasher.tell({ type: 'hash', id: call.id, job: call.job })
    }
  }
  const reply = ({ worker, id }: Pick<Call, 'worker' | 'id'>, result: HashResult): void =>
    worker.tell({ type: 'hashed', id, result })

  return {
    ask(worker, id, job) {
      if (line.length >= most() && idle.size === 0) {
        reply({ worker, id }, { busy: `${line.length} wait already` })
        return
      }
      line.push({ worker, id, job, isLastTry: false })
      assign()
    },
    drop(worker, id) {
      const isIt = (call: Call): boolean => call.worker === worker && call.id === id
      if (!line.some(isIt)) return
      line = line.filter((call) => !isIt(call))
      reply({ worker, id }, { busy: 'the client has gone' })
    },
    forget(worker) {
      line = line.filter((call) => call.worker !== worker)
    },
    join(hasher) {
      idle.add(hasher)
      assign()
    },
    answer(hasher, result) {
      const call = busy.get(hasher)
      if (call === undefined) return
      busy.delete(hasher)
      reply(call, result)
      if (!leaving.has(hasher)) idle.add(hasher)
      assign()
    },
    leave(hasher, isGone) {
      idle.delete(hasher)
      leaving.add(hasher)
      if (!isGone) return
      leaving.delete(hasher)
      const call = busy.get(hasher)
      if (call === undefined) return
      busy.delete(hasher)
      // A password can be hashed again by another: nothing was changed by the first try.
      if (call.isLastTry) reply(call, { busy: 'two hashers died of it' })
      else line.unshift({ ...call, isLastTry: true })
      assign()
    }
  }
}
