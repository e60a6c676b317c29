import t from 'tap'
import type { Parts } from '../../../src/flows/parts.ts'
import { RevocationReplica } from '../../../src/sessions/revocations.ts'
import { openFlows } from '../../support/flows.ts'
import { aDevice } from '../../support/makers.ts'

const blacklisted = { code: 'FIELDS_INVALID', fields: { non_field_errors: ['Token is blacklisted'] } }

t.test(
  'verify: an access token is valid until it expires or its session ends, whatever becomes of the user',
  async (t) => {
    const { clock, flows, logIn, users } = openFlows()
    const [first, second] = [await logIn('ann'), await logIn('ben')]
    await users.delete(first.userId)
    t.match(await flows.verify(first.access), { claims: { user_id: first.userId }, place: undefined })
    await flows.blacklist(first.refresh, aDevice)
    await t.rejects(flows.verify(first.access), { code: 'TOKEN_REVOKED' })
    clock.advance(299)
    await flows.verify(second.access)
    clock.advance(1)
    await t.rejects(flows.verify(second.access), { code: 'TOKEN_EXPIRED' })
  }
)

t.test('verify: a refresh token is valid as long as a refresh would take it', async (t) => {
  const { clock, flows, logIn, sessions } = openFlows({ env: { REFRESH_LATE_RETRY: '1h' } })
  const { refresh, sid, userId } = await logIn()
  t.match(await flows.verify(refresh), { place: { userId, sid, generation: 0 } })
  const { refresh: successor = '' } = await flows.refresh(refresh, aDevice)
  const session = await sessions.find(userId, sid)
  clock.advance(3600)
  await flows.verify(refresh)
  clock.advance(1)
  await t.rejects(flows.verify(refresh), blacklisted)
  t.same(await sessions.find(userId, sid), session, 'asking changes nothing')
  await flows.verify(successor)
  await flows.blacklist(successor, aDevice)
  await t.rejects(flows.verify(successor), blacklisted)
})

t.test('verify: an access token cannot be verified while the revocation feed is silent', async (t) => {
  const unheard = ({ clock }: Parts) => ({ revocations: new RevocationReplica({ window: 360, staleness: 30 }, clock) })
  const { flows, logIn } = openFlows({ change: unheard })
  const { access } = await logIn()
  await t.rejects(flows.verify(access), { code: 'STORE_DOWN' })
})

t.test('verifyBatch: one answer for each token, in their order', async (t) => {
  const { flows, logIn } = openFlows()
  const { access, refresh, userId } = await logIn()
  const answers = await flows.verifyBatch([access, 'x', refresh, ...Array.from({ length: 20 }, () => access)])
  t.match(answers.slice(0, 3), [{ active: true, user_id: userId }, { active: false }, { active: true, gen: 0 }])
  t.equal(answers.length, 23)
})

t.test('introspect: a token made under another password is inactive, and asking ends no session', async (t) => {
  const { flows, logIn, sessions, users } = openFlows({ env: { CHECK_REVOKE_TOKEN: 'true' } })
  const { refresh, sid, userId } = await logIn()
  t.match(await flows.introspect(refresh), {
    body: { active: true, username: 'vitor' },
    outcome: { verdict: 'active' }
  })
  await users.setPassword(userId, 'another digest')
  const outcome = { user_id: userId, sid, verdict: 'inactive' }
  t.same(await flows.introspect(refresh), { body: { active: false }, outcome })
  t.ok(await sessions.find(userId, sid))
})
