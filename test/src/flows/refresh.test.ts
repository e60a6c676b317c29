import t from 'tap'
import { openFlows, thePassword, unsignedCodec } from '../../support/flows.ts'
import { aDevice } from '../../support/makers.ts'

t.test('refresh: a retry within the grace returns the same successor', async (t) => {
  const { clock, flows, logIn } = openFlows()
  const { refresh, sid, userId } = await logIn()
  const first = await flows.refresh(refresh, aDevice)
  t.same(first.outcome, { user_id: userId, sid, verdict: 'rotated' })
  clock.advance(10)
  const second = await flows.refresh(refresh, aDevice)
  t.same(second.outcome, { user_id: userId, sid, verdict: 'retried' })
  t.equal(second.refresh, first.refresh)
  t.not(second.access, first.access)
  t.match(unsignedCodec.read(second.refresh ?? ''), { gen: 1, sid, user_id: userId })
})

t.test('refresh: a reuse ends the session, and the refusal says whose it was', async (t) => {
  const { clock, flows, logIn, revocations, sessions } = openFlows({ env: { REFRESH_LATE_RETRY: '0' } })
  const { refresh, sid, userId } = await logIn()
  const { refresh: successor = '' } = await flows.refresh(refresh, aDevice)
  clock.advance(11)
  await t.rejects(flows.refresh(refresh, aDevice), { code: 'TOKEN_REUSED', userId, sid, verdict: 'reused' })
  t.equal(revocations.has({ sid: sid }), true)
  t.same(await sessions.list(userId), [])
  await t.rejects(flows.refresh(successor, aDevice), { code: 'TOKEN_REVOKED', userId, sid, verdict: 'unknown' })
})

t.test('refresh: a user who is inactive or deleted is refused, and the session stays', async (t) => {
  const { flows, logIn, sessions, users } = openFlows()
  const { refresh, sid, userId } = await logIn()
  const before = await sessions.find(userId, sid)
  const refused = { code: 'USER_GONE', userId, sid, verdict: undefined }
  await users.setActive(userId, false)
  await t.rejects(flows.refresh(refresh, aDevice), refused)
  await users.delete(userId)
  await t.rejects(flows.refresh(refresh, aDevice), refused)
  t.same(await sessions.find(userId, sid), before)
})

t.test('refresh: a token made under another password ends its session, once', async (t) => {
  const { flows, logIn, sessions, users } = openFlows({ env: { CHECK_REVOKE_TOKEN: 'true' } })
  const { refresh, sid, userId } = await logIn()
  await users.setPassword(userId, 'another digest')
  await t.rejects(flows.refresh(refresh, aDevice), { code: 'PASSWORD_CHANGED', userId, sid })
  t.equal(await sessions.find(userId, sid), undefined)
  await t.rejects(flows.refresh(refresh, aDevice), { code: 'TOKEN_REVOKED', userId, sid })
})

t.test('refresh: hooks that fail rotate nothing', async (t) => {
  let isBroken = false
  const claims = () => (isBroken ? Promise.reject(new Error('no')) : { role: 'admin' })
  const { flows, logIn, sessions } = openFlows({ hooks: { claims } })
  const { refresh, sid, userId } = await logIn()
  isBroken = true
  await t.rejects(flows.refresh(refresh, aDevice), { code: 'CLAIMS_FAILED' })
  t.match(await sessions.find(userId, sid), { generation: 0 })
  isBroken = false
  t.match(unsignedCodec.read((await flows.refresh(refresh, aDevice)).access), { role: 'admin' })
})

t.test('refresh: without rotation there is an access token only', async (t) => {
  const { flows, logIn } = openFlows({ env: { ROTATE_REFRESH_TOKENS: 'false' } })
  const { refresh } = await logIn()
  for (let times = 0; times < 2; times++) {
    const { outcome, ...pair } = await flows.refresh(refresh, aDevice)
    t.same([Object.keys(pair), outcome.verdict], [['access', 'expiresIn'], 'current'])
  }
})

t.test('refreshSliding: a later token with the same jti and refresh_exp, until that is reached', async (t) => {
  const { addUser, clock, flows } = openFlows({ env: { SLIDING_TOKENS: 'true', SLIDING_TOKEN_LIFETIME: '2d' } })
  await addUser()
  const { token } = await flows.obtainSliding({ username: 'vitor', password: thePassword }, aDevice)
  const { jti, refresh_exp } = unsignedCodec.read(token)
  clock.advance(86_399)
  const { token: later, outcome } = await flows.refreshSliding(token, aDevice)
  t.match(unsignedCodec.read(later), { jti, refresh_exp, iat: clock() })
  t.match(outcome, { verdict: 'current' })
  clock.advance(1)
  await t.rejects(flows.refreshSliding(token, aDevice), { code: 'TOKEN_REFRESH_EXPIRED' })
})
