/* One-time tokens that another service issues and redeems over HTTP. */
import t, { type Test } from 'tap'
import type { PasswordHasher } from '../../src/passwords/hasher.ts'
import { auditEntries, callAs, clientToken } from '../support/admin.ts'
import { aPassword, openApp } from '../support/app.ts'
import { aModule } from '../support/modules.ts'

const redeemUrl = '/api/admin/one-time-tokens/redeem/'
const spent = { detail: 'This token is invalid, has expired, or was already used.' }

t.test('a service issues a token, and redeems it once', async (t) => {
  const service = await openApp(t)
  const { id } = await service.addUser('vitor', aPassword)
  const call = callAs(service, await clientToken(service, 'sign-up', 'keyturn.users'))
  const url = `/api/admin/users/${id}/one-time-tokens/`
  const issued = await call('POST', url, { purpose: 'verify' })
  t.equal(issued.statusCode, 201)
  t.equal(issued.headers['cache-control'], 'no-store')
  const { token, expires_at } = issued.json()
  t.match(token, /^[\w-]{43}$/)
  t.equal(Date.parse(expires_at), (service.clock() + 86_400) * 1000)
  const wrong = await call('POST', redeemUrl, { token, purpose: 'invite' })
  t.same([wrong.statusCode, wrong.json()], [400, spent])
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => call('POST', redeemUrl, { token, purpose: 'verify' }))
  )
  const successes = answers.filter(({ statusCode }) => statusCode === 200)
  t.same(
    successes.map((answer) => answer.json()),
    [{ user_id: id, purpose: 'verify' }]
  )
  for (const answer of answers) if (answer.statusCode !== 200) t.same([answer.statusCode, answer.json()], [400, spent])
  t.match(await auditEntries(service, 'one_time_token'), [{ userId: id, object: 'verify', actor: 'client:sign-up' }])
  t.match(await auditEntries(service, 'one_time_token_redeem'), [{ userId: id, object: 'verify' }])
  t.notMatch(JSON.stringify([service.log, await service.app.stores.audit.list(0, 100)]), token)
})

t.test('a lifetime of at most a day is honoured to the second', async (t) => {
  const service = await openApp(t, { ACCESS_TOKEN_LIFETIME: '1h' })
  const { id } = await service.addUser('vitor', aPassword)
  const call = callAs(service, await clientToken(service, 'sign-up', 'keyturn.users'))
  const issue = (body: object) => call('POST', `/api/admin/users/${id}/one-time-tokens/`, body)
  const redeem = async (token: string) => (await call('POST', redeemUrl, { token, purpose: 'verify' })).statusCode
  const first = (await issue({ purpose: 'verify', lifetime: 60 })).json()
  service.clock.advance(60)
  t.equal(await redeem(first.token), 400)
  const second = (await issue({ purpose: 'verify', lifetime: 60 })).json()
  service.clock.advance(59)
  t.equal(await redeem(second.token), 200)
  const faults: readonly (readonly [body: object, fields: object])[] = [
    [{}, { purpose: ['This field is required.'] }],
    [{ purpose: 'login' }, { purpose: ['It must be one of password_reset, verify, invite.'] }],
    [{ purpose: 'verify', lifetime: 0 }, { lifetime: [/greater than or equal to 1/] }],
    [{ purpose: 'verify', lifetime: 86_401 }, { lifetime: [/less than or equal to 86400/] }],
    [{ purpose: 'verify', lifetime: 'long' }, { lifetime: [/integer/] }]
  ]
  for (const [body, fields] of faults) {
    const answer = await issue(body)
    t.equal(answer.statusCode, 400, JSON.stringify(body))
    t.match(answer.json(), fields)
  }
  const missing = await call('POST', '/api/admin/users/unknown/one-time-tokens/', { purpose: 'verify' })
  t.equal(missing.statusCode, 404)
})

t.test('keyturn.users is not enough to reset the password of an administrator', async (t) => {
  const service = await openApp(t)
  const { id } = await service.addUser('root', aPassword)
  await service.app.stores.users.setClaims(id, { scope: 'keyturn.admin' })
  const url = `/api/admin/users/${id}/one-time-tokens/`
  const issue = async (scope: string) =>
    (
      await callAs(service, await clientToken(service, scope.replace('.', '-'), scope))('POST', url, {
        purpose: 'password_reset'
      })
    ).statusCode
  t.equal(await issue('keyturn.users'), 403)
  t.equal(await issue('keyturn.admin'), 201)
})

t.test('a user who becomes an administrator has no token of before, however the scope was given', async (t) => {
  const service = await openApp(t)
  const { users } = service.app.stores
  const signUp = callAs(service, await clientToken(service, 'sign-up', 'keyturn.users'))
  const admin = callAs(service, await clientToken(service, 'root', 'keyturn.admin'))
  const { id } = await service.addUser('vitor', aPassword)
  const issue = async (purpose: string): Promise<string> =>
    (await signUp('POST', `/api/admin/users/${id}/one-time-tokens/`, { purpose })).json().token
  const promotions = [
    () => admin('PATCH', `/api/admin/users/${id}/`, { claims: { scope: 'keyturn.admin' } }),
    () => users.setClaims(id, { scope: 'keyturn.admin' })
  ]
  for (const promote of promotions) {
    await users.setClaims(id, { plan: 'small' })
    const [reset, verify] = [await issue('password_reset'), await issue('verify')]
    await users.setClaims(id, { plan: 'large' })
    await promote()
    const answer = await service.post('/api/password/reset/', { token: reset, new_password: 'another horse' })
    t.same([answer.statusCode, answer.json()], [400, spent])
    t.equal((await admin('POST', redeemUrl, { token: verify, purpose: 'verify' })).statusCode, 400)
  }
  await users.setClaims(id, { plan: 'small' })
  const token = await issue('password_reset')
  await users.setClaims(id, { plan: 'large' })
  const answer = await service.post('/api/password/reset/', { token, new_password: 'another horse' })
  t.equal(answer.statusCode, 204, 'another claim changes nothing')
})

/** An application whose hook makes administrators of the users named in `admins`. */
async function openWithAdmins(t: Test) {
  const admins = new Set<string>()
  Object.assign(globalThis, { admins })
  const hook =
    "export const claims = ({ username }) => globalThis.admins.has(username) ? { scope: 'keyturn.admin' } : {}"
  return { ...(await openApp(t, { HOOKS_MODULE: aModule(t, hook) })), admins }
}

t.test('a token that a lesser client issued is invalid once a hook makes its user an administrator', async (t) => {
  const service = await openWithAdmins(t)
  const signUp = callAs(service, await clientToken(service, 'sign-up', 'keyturn.users'))
  const admin = callAs(service, await clientToken(service, 'root', 'keyturn.admin'))
  const { id } = await service.addUser('vitor', aPassword)
  const issue = async (call: typeof admin, purpose: string): Promise<string> =>
    (await call('POST', `/api/admin/users/${id}/one-time-tokens/`, { purpose })).json().token
  const [reset, verify] = [await issue(signUp, 'password_reset'), await issue(signUp, 'verify')]
  const invite = await issue(admin, 'invite')
  service.admins.add('vitor')
  const resetWith = (token: string) => service.post('/api/password/reset/', { token, new_password: 'another horse' })
  const answer = await resetWith(reset)
  t.same([answer.statusCode, answer.json()], [400, spent])
  t.equal((await admin('POST', redeemUrl, { token: verify, purpose: 'verify' })).statusCode, 400)
  t.equal((await service.post('/api/token/', { username: 'vitor', password: aPassword })).statusCode, 200)
  t.equal((await resetWith(invite)).statusCode, 204, 'one that an administrator issued is valid')
})

t.test('the user of a token is checked again after the new password was hashed', async (t) => {
  const service = await openWithAdmins(t)
  const { users } = service.app.stores
  const signUp = callAs(service, await clientToken(service, 'sign-up', 'keyturn.users'))
  const hasher = service.app.hasher as PasswordHasher
  const { hash } = hasher
  const promotions: Readonly<Record<string, (id: string) => unknown>> = {
    stored: (id) => users.setClaims(id, { scope: 'keyturn.admin' }),
    hook: () => service.admins.add('hook')
  }
  for (const [name, promote] of Object.entries(promotions)) {
    const { id, passwordHash } = await service.addUser(name, aPassword)
    const issued = await signUp('POST', `/api/admin/users/${id}/one-time-tokens/`, { purpose: 'password_reset' })
    Object.assign(hasher, {
      async hash(...args: Parameters<typeof hash>) {
        await promote(id)
        return await hash(...args)
      }
    })
    const body = { token: issued.json().token, new_password: 'another horse' }
    t.equal((await service.post('/api/password/reset/', body)).statusCode, 400, name)
    Object.assign(hasher, { hash })
    t.equal((await users.findById(id))?.passwordHash, passwordHash, name)
  }
})
