/* The rules of the state machine, each broken once, by a stand-in for a decision, for the timers or for the storage. */
import { type Rules, rules } from '../src/rules.ts'
import type { Session } from '../src/session.ts'
import type { Broken } from './histories.ts'

interface Mutant extends Broken {
  readonly title: string
  readonly decisions?: Partial<Rules>
}

const { isNewer, verdictOf } = rules
const timeout = 30_000

export const mutants: readonly Mutant[] = [
  { title: 'R1: each call makes a refresh of its own', decisions: { join: (_running, start) => start() } },
  {
    title: 'R2: the storage is read once, and other tabs are not heard',
    storage(storage) {
      let known: Session | undefined
      return {
        load: async () => {
          known ??= await storage.load()
          return known
        },
        save: (session) => {
          known = session
          return storage.save(session)
        }
      }
    }
  },
  { title: 'R3: the answer that comes last wins', decisions: { isNewer: (a, b) => a !== b } },
  { title: 'R4: a token is used until a service refuses it', decisions: { ageOf: () => 'live' } },
  {
    title: 'R5: an outage ends the session',
    decisions: {
      verdictOf: (answer, isCookieMode) => (answer.status >= 500 ? 'ended' : verdictOf(answer, isCookieMode))
    }
  },
  {
    title: 'R5: a limit ends the session',
    decisions: {
      verdictOf: (answer, isCookieMode) => (answer.status === 429 ? 'ended' : verdictOf(answer, isCookieMode))
    }
  },
  { title: 'R5: Retry-After is ignored', decisions: { waitAfter: () => 0.5 } },
  {
    title: 'R6: a 401 of a proxy ends the session',
    decisions: {
      verdictOf: (answer, isCookieMode) => (answer.status === 401 ? 'ended' : verdictOf(answer, isCookieMode))
    }
  },
  {
    title: 'R6: a 401 of the service does not end the session',
    decisions: {
      verdictOf: (answer, isCookieMode) => {
        const verdict = verdictOf(answer, isCookieMode)
        return verdict === 'ended' ? 'failed' : verdict
      }
    }
  },
  {
    title: 'R7: tokens that come after a logout are taken',
    decisions: {
      isNewer: (a, b) =>
        (b.ended > 0 && a.ended === 0) ||
        (b.ended === a.ended && isNewer(a, b)) ||
        (a.ended > 0 && b.since > 0 && b.ended === 0 && isNewer(a, b))
    }
  },
  { title: 'R7: tabs do not hear of each other', storage: ({ load, save }) => ({ load, save }) },
  {
    title: 'R8: calls have no timeout',
    options: (world, tab) => ({
      runtime: {
        now: () => world.clock.wall,
        random: () => world.random(),
        setTimer: (ms, then) => (ms === timeout ? () => {} : world.clock.set(ms, then, tab()))
      }
    })
  },
  {
    title: 'R9: a subscription is not ended',
    storage: (storage) => ({
      ...storage,
      subscribe: (listener) => {
        storage.subscribe?.(listener)
        return () => {}
      }
    })
  }
]

/** Runs `work` with the decisions of a mutant. */
export async function withMutant<T>({ decisions = {} }: Mutant, work: () => Promise<T>): Promise<T> {
  const sound = { ...rules }
  Object.assign(rules, decisions)
  try {
    return await work()
  } finally {
    Object.assign(rules, sound)
  }
}
