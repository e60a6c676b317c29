import { setTimeout as sleep } from 'node:timers/promises'
import { KeyturnError } from '../../src/errors.ts'
import type { RotationVerdict } from '../../src/sessions/rotation.ts'
import type { Session } from '../../src/sessions/session.ts'
import type { SessionStore } from '../../src/sessions/store.ts'
import { aDevice } from '../support/makers.ts'
import type { SteppedClock } from './clock.ts'

export type Command =
  | { readonly kind: 'start'; readonly userId: string }
  | { readonly kind: 'rotate'; readonly userId: string; readonly sid: string; readonly generation: number }
  | { readonly kind: 'revoke'; readonly userId: string; readonly sid: string }
  | { readonly kind: 'revokeAll'; readonly userId: string; readonly kept: string }

/** What came of a command. One that was answered has happened once; one that failed may have happened or not. */
export type Outcome =
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'started'; readonly session: Session; readonly ended: readonly string[] }
  | { readonly kind: 'verdict'; readonly verdict: RotationVerdict }
  | { readonly kind: 'ended'; readonly sids: readonly string[] }

/** A point in the order of all beginnings and endings, which one process counts and so knows exactly. */
export interface Moment {
  readonly event: number
  /** Seconds: no script ran earlier than this after a beginning, none later than this before an ending. */
  readonly clock: number
}

export interface Operation {
  readonly id: number
  readonly client: string
  readonly worker: number
  readonly command: Command
  readonly outcome: Outcome
  readonly began: Moment
  /** When the client had its answer, or its error. */
  readonly answered: Moment
  /** After this it cannot happen any more. An answer settles it; after an error the worker's connection must answer again. */
  readonly settled: Moment
}

/** What stands between clients and Redis: a store with a connection of its own. */
export interface Worker {
  readonly number: number
  readonly store: SessionStore
}

export interface Recorder {
  /** How many operations have been answered. */
  count(): number
  /** Those that are settled, in the order of their beginning. */
  operations(): readonly Operation[]
  /** The second in which the oldest operation began that has no answer yet, nor an error; Infinity when there is none. */
  oldestWaiting(): number
  /** The same of those that are not settled. */
  oldestOpen(): number
  /** Runs a command and records it. Never throws for a store that is down: that is an outcome. */
  run(client: string, worker: Worker, command: Command): Promise<Outcome>
  /** Resolves when everything is settled. */
  settled(): Promise<void>
}

export function makeRecorder(clock: SteppedClock): Recorder {
  const operations: Operation[] = []
  const waiting = new Map<number, number>()
  const open = new Map<number, number>()
  const settling = new Set<Promise<void>>()
  let events = 0
  let begun = 0
  let count = 0
  const begin = (): Moment => ({ event: events++, clock: clock.earliest() })
  const end = (): Moment => ({ event: events++, clock: clock.latest() })

  return {
    count: () => count,
    operations: () => operations.toSorted((a, b) => a.id - b.id),
    oldestWaiting: () => Math.min(...waiting.values()),
    oldestOpen: () => Math.min(...open.values()),
    async run(client, worker, command) {
      const id = begun++
      const began = begin()
      waiting.set(id, began.clock)
      open.set(id, began.clock)
      const outcome = await perform(worker.store, command)
      const answered = end()
      waiting.delete(id)
      const record = (settled: Moment) => {
        open.delete(id)
        operations.push({ id, client, worker: worker.number, command, outcome, began, answered, settled })
      }
      if (outcome.kind !== 'failed') {
        count++
        record(answered)
      } else track(settling, untilAnswering(worker).then(end).then(record))
      return outcome
    },
    async settled() {
      while (open.size > 0) await Promise.all([...settling, sleep(1)])
    }
  }
}

/** A connection carries its commands in order: once it answers to this one, all before it have happened or never will. */
async function untilAnswering({ store }: Worker): Promise<void> {
  for (;;) {
    try {
      return await store.ping()
    } catch {
      await sleep(10)
    }
  }
}

/**
 * A circuit that is half-open refuses calls for a part of each slice of time, if more than a few wait: resolves after a second in
 * which none of many was refused.
 */
export async function untilAllPass({ store }: Worker): Promise<void> {
  for (let since = performance.now(); performance.now() - since < 1000; ) {
    const calls = await Promise.allSettled(Array.from({ length: 10 }, () => store.ping()))
    if (calls.some(({ status }) => status === 'rejected')) since = performance.now()
    await sleep(5)
  }
}

function track(set: Set<Promise<void>>, promise: Promise<void>): void {
  set.add(promise)
  void promise.finally(() => set.delete(promise))
}

async function perform(store: SessionStore, command: Command): Promise<Outcome> {
  try {
    switch (command.kind) {
      case 'start':
        return { kind: 'started', ...(await store.start(command.userId, aDevice)) }
      case 'rotate':
        return { kind: 'verdict', verdict: await store.rotate(command) }
      case 'revoke':
        return { kind: 'ended', sids: (await store.revoke(command.userId, command.sid)) ? [command.sid] : [] }
      case 'revokeAll':
        return { kind: 'ended', sids: await store.revokeAll(command.userId, command.kept) }
    }
  } catch (error) {
    return { kind: 'failed', reason: reasonOf(error) }
  }
}

/** Why the store could not be reached. Any other error is a fault here or in a script, and thrown on. */
function reasonOf(error: unknown): string {
  // The circuit has not even sent it.
  if (error instanceof KeyturnError && error.code === 'STORE_DOWN' && error.cause === undefined) return error.message
  const cause = error instanceof KeyturnError ? error.cause : error
  if (!(cause instanceof Error) || cause instanceof TypeError || cause.message.startsWith('ERR ')) throw error
  return cause instanceof KeyturnError ? reasonOf(cause) : cause.message
}
