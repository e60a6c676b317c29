/* The stores in memory that tests of the flows use behave as those that ship. */
import t from 'tap'
import { makeManualClock } from '../../../src/time.ts'
import {
  makeMemoryOneTimeTokens,
  makeMemorySessions,
  makeMemoryUsers,
  makeSessionMemory
} from '../../support/memory.ts'
import { oneTimeTokenStoreSuite } from '../../conformance/one-time-tokens.ts'
import { sessionStoreSuite } from '../../conformance/sessions.ts'
import { userStoreSuite } from '../../conformance/users.ts'

t.test('sessions in memory', async (t) => {
  const clock = makeManualClock()
  const memory = makeSessionMemory()
  await sessionStoreSuite(t, async (policy) => ({
    store: makeMemorySessions(policy, clock, memory),
    now: clock,
    advance: async (seconds) => clock.advance(seconds)
  }))
})

t.test('users in memory', async (t) => {
  await userStoreSuite(t, async () => {
    const clock = makeManualClock()
    return { store: makeMemoryUsers(clock), now: clock, advance: clock.advance }
  })
})

t.test('one-time tokens in memory', async (t) => {
  await oneTimeTokenStoreSuite(t, async () => {
    const clock = makeManualClock()
    const store = makeMemoryOneTimeTokens(clock)
    return { store, other: store, now: clock, advance: clock.advance }
  })
})
