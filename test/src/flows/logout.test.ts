import t from 'tap'
import { openFlows, thePassword } from '../../support/flows.ts'
import { aDevice } from '../../support/makers.ts'

t.test('blacklist: ends the session with its access tokens, once, and no other session', async (t) => {
  const { flows, logIn, sessions } = openFlows()
  const [here, there] = [await logIn(), await logIn()]
  t.same(await flows.blacklist(here.refresh, aDevice), { user_id: here.userId, sid: here.sid })
  await t.rejects(flows.verify(here.access), { code: 'TOKEN_REVOKED' })
  await t.rejects(flows.blacklist(here.refresh, aDevice), { code: 'TOKEN_REVOKED' })
  t.match(await sessions.list(here.userId), [{ sid: there.sid }])
})

t.test(
  'blacklist: a superseded token ends the session too, also after the grace, and for an inactive user',
  async (t) => {
    const { clock, flows, logIn, sessions, users } = openFlows()
    const { refresh, userId } = await logIn()
    await flows.refresh(refresh, aDevice)
    clock.advance(3600)
    await users.setActive(userId, false)
    await flows.blacklist(refresh, aDevice)
    t.same(await sessions.list(userId), [])
  }
)

t.test('blacklist: a sliding token ends its session only with SLIDING_TOKENS', async (t) => {
  for (const [setting, refusal] of [
    ['true', undefined],
    ['false', 'TOKEN_WRONG_TYPE']
  ] as const) {
    const { addUser, flows } = openFlows({ env: { SLIDING_TOKENS: setting } })
    await addUser()
    const { token } = await flows.obtainSliding({ username: 'vitor', password: thePassword }, aDevice)
    const code = await flows.blacklist(token, aDevice).then(
      () => undefined,
      (error) => error.code
    )
    t.equal(code, refusal, `SLIDING_TOKENS=${setting}`)
  }
})

t.test('revoke: an access token alone, and with a refresh token the whole session', async (t) => {
  const { flows, logIn } = openFlows()
  const client = { id: 'gateway', scopes: [] } as never
  const { access, refresh, sid, userId } = await logIn()
  const { access: later } = await flows.refresh(refresh, aDevice)
  t.same(await flows.revoke(client, access, aDevice), { user_id: userId, sid })
  await t.rejects(flows.verify(access), { code: 'TOKEN_REVOKED' })
  await flows.verify(later)
  t.same(await flows.revoke(client, refresh, aDevice), { user_id: userId, sid })
  await t.rejects(flows.verify(later), { code: 'TOKEN_REVOKED' })
  t.same(await flows.revoke(client, refresh, aDevice), { user_id: userId, sid, verdict: 'ended' })
  t.same(await flows.revoke(client, 'x', aDevice), { verdict: 'unknown' })
})
