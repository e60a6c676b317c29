import type { ClaimsFunction } from '../../../src/hooks.ts'
import t from 'tap'
import { KeyturnError } from '../../../src/errors.ts'
import type { UserStore } from '../../../src/users/store.ts'
import { openFlows, thePassword, unsignedCodec } from '../../support/flows.ts'
import { aDevice } from '../../support/makers.ts'

const credentials = { username: 'vitor', password: thePassword }

t.test('obtain: the tokens name the user and the session that has started', async (t) => {
  const { addUser, clock, flows, sessions } = openFlows()
  const { id } = await addUser()
  const { access, refresh, outcome } = await flows.obtain(credentials, aDevice)
  const [session] = await sessions.list(id)
  t.same(outcome, { user_id: id, sid: session?.sid })
  const common = { user_id: id, sid: session?.sid, iat: clock() }
  t.match(unsignedCodec.read(access), { token_type: 'access', exp: clock() + 300, ...common })
  t.match(unsignedCodec.read(refresh), { token_type: 'refresh', gen: 0, exp: session?.expiresAt, ...common })
  t.match(session, { device: aDevice, generation: 0 })
})

t.test('obtain: an unknown name, a wrong password and an inactive user are refused alike', async (t) => {
  const { addUser, flows, sessions, users } = openFlows()
  const { id } = await addUser()
  const refused = (userId: string | undefined) => ({ code: 'LOGIN_FAILED', userId })
  await t.rejects(flows.obtain({ ...credentials, username: 'eve' }, aDevice), refused(undefined))
  await t.rejects(flows.obtain({ ...credentials, password: 'wrong' }, aDevice), refused(id))
  await users.setActive(id, false)
  await t.rejects(flows.obtain(credentials, aDevice), refused(id))
  t.same(await sessions.list(id), [])
})

t.test(
  'obtain: CHECK_USER_IS_ACTIVE=false lets an inactive user in, also when deactivated during the login',
  async (t) => {
    const claims: ClaimsFunction = async ({ id }) => {
      await users.setActive(id, false)
      return {}
    }
    const { addUser, flows, users } = openFlows({ env: { CHECK_USER_IS_ACTIVE: 'false' }, hooks: { claims } })
    const { id } = await addUser()
    t.match(await flows.obtain(credentials, aDevice), { outcome: { user_id: id } })
    t.match(await flows.obtain(credentials, aDevice), { outcome: { user_id: id } })
  }
)

t.test('obtain: a claims function that fails starts no session', async (t) => {
  const { addUser, flows, sessions } = openFlows({ hooks: { claims: () => Promise.reject(new Error('no')) } })
  const { id } = await addUser()
  await t.rejects(flows.obtain(credentials, aDevice), { code: 'CLAIMS_FAILED' })
  t.same(await sessions.list(id), [])
})

t.test('obtain: a session whose user cannot be read again ends', async (t) => {
  const down = new KeyturnError('STORE_DOWN')
  const findById: UserStore['findById'] = () => Promise.reject(down)
  const { addUser, flows, sessions } = openFlows({ change: ({ users }) => ({ users: { ...users, findById } }) })
  const { id } = await addUser()
  await t.rejects(flows.obtain(credentials, aDevice), down)
  t.same(await sessions.list(id), [])
})

t.test('obtain: a digest of another cost is rehashed, and the tokens are bound to the new one', async (t) => {
  const { flows, hasher, users } = openFlows({ env: { CHECK_REVOKE_TOKEN: 'true' } })
  const user = await users.create('vitor', 'md5$SWPZm1lOJSdd5XLXrQn9eQ$d636e7048d0486d53a263f41c42a4ca1')
  const { access, outcome } = await flows.obtain(credentials, aDevice)
  t.match(outcome, { rehash: 'done' })
  t.equal(hasher.needsRehash((await users.findById(user?.id ?? ''))?.passwordHash ?? ''), false)
  t.match(await flows.authenticate(access), { userId: user?.id })
})

t.test('obtain: UPDATE_LAST_LOGIN dates the login', async (t) => {
  const { addUser, clock, flows, users } = openFlows({ env: { UPDATE_LAST_LOGIN: 'true' } })
  const { id } = await addUser()
  clock.advance(60)
  await flows.obtain(credentials, aDevice)
  t.equal((await users.findById(id))?.lastLoginAt, clock())
})

t.test('obtainSliding: the session lives until the last token of it can have expired', async (t) => {
  const { addUser, clock, flows, sessions } = openFlows({ env: { SLIDING_TOKENS: 'true' } })
  const { id } = await addUser()
  const { token } = await flows.obtainSliding(credentials, aDevice)
  t.match(unsignedCodec.read(token), { token_type: 'sliding', exp: clock() + 300, refresh_exp: clock() + 86_400 })
  t.match(await sessions.list(id), [{ expiresAt: clock() + 86_400 + 300 }])
})
