/* The management endpoints, called by a client with the scopes that they need. */
import t from 'tap'
import { auditEntries, callAs, clientToken, userToken } from '../support/admin.ts'
import { aPassword, type Login, openApp } from '../support/app.ts'
import { addClient } from '../support/client.ts'
import { aModule } from '../support/modules.ts'

t.test('users: a user is created, found, changed and deleted, and each act has its entry', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'signup', 'keyturn.users'))
  const created = await call('POST', '/api/admin/users/', {
    username: 'vitor',
    password: aPassword,
    claims: { team: 'blue' }
  })
  t.equal(created.statusCode, 201)
  const { id } = created.json()
  t.match(created.json(), { username: 'vitor', is_active: true, last_login_at: null, claims: { team: 'blue' } })
  t.notMatch(created.body, /argon2/)
  t.equal((await service.post('/api/token/', { username: 'vitor', password: aPassword })).statusCode, 200)
  t.match((await call('GET', `/api/admin/users/${id}/`)).json(), { id, username: 'vitor', sessions: 1 })

  t.match((await call('POST', '/api/admin/users/', { username: 'vitor' })).json(), { detail: /already taken/ })
  t.match((await call('PATCH', `/api/admin/users/${id}/`, { username: 'ann', claims: {} })).json(), {
    username: 'ann',
    claims: {}
  })
  t.equal((await call('PATCH', `/api/admin/users/${id}/`, { is_active: false })).json().is_active, false)
  t.equal((await call('GET', `/api/admin/users/${id}/`)).json().sessions, 0, 'deactivation ends all sessions')
  t.equal((await call('DELETE', `/api/admin/users/${id}/`)).statusCode, 204)
  t.equal((await call('GET', `/api/admin/users/${id}/`)).statusCode, 404)
  t.equal((await call('DELETE', `/api/admin/users/${id}/`)).statusCode, 404)
  for (const event of ['user_create', 'user_rename', 'user_claims', 'user_deactivate', 'user_delete'])
    t.match(await auditEntries(service, event), [{ userId: id, actor: 'client:signup', result: 'ok' }], event)
})

t.test('users: a new password ends all sessions, and the policy holds', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'support', 'keyturn.users'))
  const { userId, refresh } = await service.logIn()
  const url = `/api/admin/users/${userId}/password/`
  t.match((await call('PUT', url, { password: 'short' })).json(), { password: [/too short/] })
  t.equal((await service.post('/api/token/verify/', { token: refresh })).statusCode, 200, 'nothing was changed')
  t.equal((await call('PUT', url, { password: 'another password' })).statusCode, 204)
  t.equal((await service.post('/api/token/refresh/', { refresh })).statusCode, 401)
  t.equal((await service.post('/api/token/', { username: 'vitor', password: 'another password' })).statusCode, 200)
})

t.test('users: an actor who is shut out while a password is hashed sets none', async (t) => {
  const service = await openApp(t)
  const { users, sessions } = service.app.stores
  const { userId } = await service.logIn()
  const { hash } = service.app.hasher
  const shutOuts: Readonly<Record<string, readonly [act: (id: string) => Promise<unknown>, status: number]>> = {
    deactivated: [(id) => users.setActive(id, false), 401],
    'logged out': [(id) => sessions.revokeAll(id), 401],
    'without the scope': [(id) => users.setClaims(id, {}), 403]
  }
  const requests = [
    ['PUT', `/api/admin/users/${userId}/password/`, { password: 'another password' }],
    ['POST', '/api/admin/users/', { username: 'ann', password: aPassword }]
  ] as const
  for (const [name, [act, status]] of Object.entries(shutOuts)) {
    for (const [method, url, body] of requests) {
      const actor = `${name}, ${method}`
      const call = callAs(service, await userToken(service, actor, 'keyturn.users'))
      const id = (await users.findByUsername(actor))?.id ?? ''
      const interrupted = t.intercept(service.app.hasher, 'hash', {
        value: async (password: string) => {
          await act(id)
          return await hash(password)
        }
      })
      t.equal((await call(method, url, body)).statusCode, status, actor)
      interrupted.restore()
    }
  }
  t.equal(await users.findByUsername('ann'), undefined)
  t.equal((await service.post('/api/token/', { username: 'vitor', password: aPassword })).statusCode, 200)
})

t.test('users: one without a password, or with a digest, and one that is inactive', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'signup', 'keyturn.users'))
  t.equal((await call('POST', '/api/admin/users/', { username: 'invited' })).statusCode, 201)
  const digest = await service.app.hasher.hash(aPassword)
  for (const username of ['moved', 'asleep']) {
    const body = { username, password_digest: digest, is_active: username === 'moved' }
    t.equal((await call('POST', '/api/admin/users/', body)).json().is_active, username === 'moved')
  }
  const plain = { username: 'plain', password_digest: aPassword }
  t.match((await call('POST', '/api/admin/users/', plain)).json(), { password_digest: [/digest/] })
  const two = await call('POST', '/api/admin/users/', { ...plain, password: aPassword, password_digest: digest })
  t.equal(two.statusCode, 400)
  t.match(two.json(), { password_digest: [/password/] })
  const statuses = ['invited', 'moved', 'asleep'].map(
    async (username) => (await service.post('/api/token/', { username, password: aPassword })).statusCode
  )
  t.same(await Promise.all(statuses), [401, 200, 401])
})

t.test('users: fields are refused by type, in the form of Simple JWT', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'signup', 'keyturn.users'))
  const body = { username: ' ', is_active: 'yes', claims: ['a'] }
  t.same((await call('POST', '/api/admin/users/', body)).json(), {
    username: ['This field may not be blank.'],
    is_active: ['Must be a valid boolean.'],
    claims: ['Expected a dictionary of items but got type "list".']
  })
  t.match((await call('POST', '/api/admin/users/', { username: 'a', claims: { sub: 'x' } })).json(), {
    claims: [/sub is Keyturn's own/]
  })
  t.match((await call('GET', '/api/admin/users/?limit=201')).json(), { limit: [/1 to 200/] })
})

t.test('users: the list goes page by page, and by name or prefix', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'support', 'keyturn.users.read'))
  const names = ['an-n', 'ann', 'anna', 'annika', 'ben', 'bob']
  for (const name of names.toReversed()) await service.app.stores.users.create(name, '!')
  const list = async (query: string): Promise<{ names: string[]; next: string | null }> => {
    const { results, next } = (await call('GET', `/api/admin/users/${query}`)).json()
    return { names: results.map(({ username }: { username: string }) => username), next }
  }
  t.same(await list(''), { names, next: null })
  const first = await list('?limit=4')
  t.same(first, { names: names.slice(0, 4), next: 'annika' })
  t.same(await list(`?limit=4&after=${first.next}`), { names: names.slice(4), next: null })
  t.same(await list('?search=ann'), { names: ['ann', 'anna', 'annika'], next: null })
  t.same(await list('?search=ann&limit=2'), { names: ['ann', 'anna'], next: 'anna' })
  t.same(await list('?search=ann&limit=2&after=anna'), { names: ['annika'], next: null })
  t.same(await list('?username=ben'), { names: ['ben'], next: null })
  t.same(await list('?username=be'), { names: [], next: null })
})

t.test('sessions: one or all of a user end, for access tokens too', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'support', 'keyturn.sessions'))
  const { userId, access } = await service.logIn()
  await service.post('/api/token/', { username: 'vitor', password: aPassword })
  const url = `/api/admin/users/${userId}/sessions/`
  const { results } = (await call('GET', url)).json()
  t.equal(results.length, 2)
  const sid = JSON.parse(Buffer.from(access.split('.')[1] ?? '', 'base64url').toString()).sid
  t.equal((await call('DELETE', `${url}${sid}/`)).statusCode, 204)
  t.equal((await call('DELETE', `${url}${sid}/`)).statusCode, 404)
  t.equal((await service.post('/api/token/verify/', { token: access })).statusCode, 401)
  t.same((await call('DELETE', url)).json(), { ended: 1 })
  t.equal((await call('DELETE', `${url}no%00session/`)).statusCode, 404)
  t.same((await call('GET', url)).json(), { results: [], next: null }, 'a user without sessions')
  for (const method of ['GET', 'DELETE'] as const)
    t.equal((await call(method, '/api/admin/users/unknown/sessions/')).statusCode, 404, `${method} of an unknown user`)
  const entries = await auditEntries(service, 'session_revoke')
  t.equal(entries.length, 3)
  t.match(entries, [
    { result: 'ok', sid },
    { result: 'ended', sid },
    { result: 'ok', userId }
  ])
})

t.test('sessions: those of many users end in one call, which may be repeated', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'support', 'keyturn.sessions'))
  const logins = await Promise.all(['ann', 'ben', 'kim'].map((name) => service.logIn(name)))
  const [ann, ben, kim] = logins as [Login, Login, Login]
  await service.post('/api/token/', { username: 'ann', password: aPassword })
  const others = Array.from({ length: 9_997 }, (_, index) => `unknown-${index}-${'x'.repeat(36)}`)
  const body = { user_ids: [ann.userId, ben.userId, ann.userId, ...others] }
  t.same((await call('POST', '/api/admin/sessions/revoke/', body)).json(), { users: 2, sessions: 3 })
  t.same((await call('POST', '/api/admin/sessions/revoke/', body)).json(), { users: 0, sessions: 0 })
  const statuses = logins.map(
    async ({ access }) => (await service.post('/api/token/verify/', { token: access })).statusCode
  )
  t.same(await Promise.all(statuses), [401, 401, 200])
  const entries = await auditEntries(service, 'session_revoke')
  t.match(entries, [{ result: 'ok' }, { result: 'ok' }, { result: 'ended' }, { result: 'ended' }])
  t.equal(entries.length, 4, 'one entry for each user and call')
  t.match(entries[0], { actor: 'client:support' })
  const tooMany = { user_ids: [kim.userId, ...body.user_ids] }
  t.match((await call('POST', '/api/admin/sessions/revoke/', tooMany)).json(), { user_ids: [/10000 elements/] })
})

t.test('audit: the trail is read page by page, of all, of a user and of an event', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'siem', 'keyturn.audit'))
  const { userId } = await service.logIn('ann')
  await service.logIn('ben')
  await service.post('/api/token/', { username: 'ann', password: 'wrong' })
  await service.app.auditTrail.settled()
  const read = async (query: string) => {
    const { results, next } = (await call('GET', `/api/admin/audit/${query}`)).json()
    return { seqs: results.map(({ seq }: { seq: number }) => seq), results, next }
  }
  const first = await read('?limit=2')
  t.same([first.seqs, first.next], [[1, 2], 2])
  t.same((await read('?after=2')).seqs, [3])
  t.same([(await read('?after=3')).seqs, (await read('?after=3')).next], [[], 3], 'nothing new yet')
  t.match((await read(`?user_id=${userId}`)).results, [{ seq: 1, user_id: userId, result: 'ok' }, { seq: 3 }])
  t.same((await read('?event=login')).seqs, [1, 2, 3])
  t.same((await read(`?event=login&user_id=${userId}&after=1`)).seqs, [3], 'a failed login too')
  t.same((await read('?event=logout')).seqs, [])
  const newest = await read('?order=desc&limit=2')
  t.same([newest.seqs, newest.next], [[3, 2], 2], 'newest first')
  t.same([(await read('?order=desc&limit=2&after=2')).seqs, (await read('?order=desc&after=2')).next], [[1], null])
  t.same((await read(`?order=desc&user_id=${userId}&event=login`)).seqs, [3, 1], 'filtered as in the other order')
  t.match((await call('GET', '/api/admin/audit/?order=up')).json(), { order: ['It must be "desc".'] })
})

t.test('keys: a rotation publishes one next key, or signs at once', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'ops', 'keyturn.keys'))
  const published = (await call('POST', '/api/admin/keys/rotate/')).json()
  t.match(published, { state: 'next', activated_at: null, algorithm: 'ES256' })
  t.equal((await call('POST', '/api/admin/keys/rotate/')).json().kid, published.kid, 'there is one already')
  t.equal((await call('POST', '/api/admin/keys/rotate/', { immediate: true })).statusCode, 200)
  const { results, next } = (await call('GET', '/api/admin/keys/')).json()
  t.equal(next, null)
  t.same(results.map(({ kid, state }: { kid: string; state: string }) => [state, kid === published.kid]).toSorted(), [
    ['active', true],
    ['retired', false]
  ])
  t.notMatch(JSON.stringify(results), /PRIVATE|sealed/)
})

t.test('keys: with SIGNING_KEY there are none to rotate', async (t) => {
  const service = await openApp(t, { SIGNING_KEY: 'a secret that is long enough for HS256 to be taken' })
  const call = callAs(service, await clientToken(service, 'ops', 'keyturn.keys'))
  t.same((await call('GET', '/api/admin/keys/')).json(), { results: [], next: null })
  const refused = await call('POST', '/api/admin/keys/rotate/')
  t.match([refused.statusCode, refused.json()], [409, { detail: /SIGNING_KEY is set/ }])
})

t.test('clients: one is created, its secret replaced, and deleted', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'ops', 'keyturn.clients'))
  const created = await call('POST', '/api/admin/clients/', { client_id: 'shop', scope: 'stock.read' })
  t.equal(created.statusCode, 201)
  t.match(created.json(), { client_id: 'shop', client_secret: /^.{40,}$/, scope: 'stock.read' })
  t.equal((await call('POST', '/api/admin/clients/', { client_id: 'shop' })).statusCode, 409)
  t.match((await call('POST', '/api/admin/clients/', { client_id: 'Shop' })).json(), { client_id: [/lower-case/] })
  t.match((await call('POST', '/api/admin/clients/', { client_id: 'x', scope: 'a"b' })).json(), { scope: [/scopes/] })
  const rotated = await call('POST', '/api/admin/clients/shop/rotate-secret/', { overlap: 60 })
  t.not(rotated.json().client_secret, created.json().client_secret)
  t.match((await call('POST', '/api/admin/clients/shop/rotate-secret/', { overlap: -1 })).json(), {
    overlap: ['Ensure this value is greater than or equal to 0.']
  })
  t.notMatch((await call('GET', '/api/admin/clients/')).body, /secret_hash|client_secret/)
  t.equal((await call('DELETE', '/api/admin/clients/shop/')).statusCode, 204)
  t.equal((await call('DELETE', '/api/admin/clients/shop/')).statusCode, 404)
})

t.test('an actor gives no management scope that it lacks, and takes over no account that has one', async (t) => {
  const service = await openApp(t)
  const { id: admin } = await service.addUser('root', aPassword)
  await service.app.stores.users.setClaims(admin, { scope: 'keyturn.admin' })
  const users = callAs(service, await clientToken(service, 'signup', 'keyturn.users'))
  const clients = callAs(service, await clientToken(service, 'ops', 'keyturn.clients'))
  await clientToken(service, 'mighty', 'keyturn.admin')
  const refused = [
    users('POST', '/api/admin/users/', { username: 'eve', claims: { scope: 'keyturn.keys' } }),
    users('PATCH', `/api/admin/users/${admin}/`, { claims: {} }),
    users('PUT', `/api/admin/users/${admin}/password/`, { password: 'taken over by eve' }),
    users('DELETE', `/api/admin/users/${admin}/`),
    clients('POST', '/api/admin/clients/', { client_id: 'eve', scope: 'keyturn.users' }),
    clients('POST', '/api/admin/clients/mighty/rotate-secret/'),
    clients('DELETE', '/api/admin/clients/mighty/')
  ]
  for (const answer of await Promise.all(refused)) t.equal(answer.statusCode, 403)
  const own = { username: 'kim', claims: { scope: 'keyturn.users shop' } }
  t.equal((await users('POST', '/api/admin/users/', own)).statusCode, 201, 'its own scope, and those of others')
})

t.test('the scopes that a hook adds count like those that are stored', async (t) => {
  const hook = `export const claims = ({ username, claims }) => {
    if (claims.broken) throw new Error('down')
    return username === 'boss' || claims.role === 'admin' ? { scope: 'keyturn.admin' } : {}
  }`
  const service = await openApp(t, { HOOKS_MODULE: aModule(t, hook) })
  const users = callAs(service, await clientToken(service, 'signup', 'keyturn.users'))
  const admin = callAs(service, await clientToken(service, 'root', 'keyturn.admin'))
  const boss = (await admin('POST', '/api/admin/users/', { username: 'boss', password: aPassword })).json().id
  const { id } = (await users('POST', '/api/admin/users/', { username: 'ann', claims: { team: 'blue' } })).json()
  const { id: broken } = (await admin('POST', '/api/admin/users/', { username: 'bob' })).json()
  t.equal((await admin('PATCH', `/api/admin/users/${broken}/`, { claims: { broken: true } })).statusCode, 200)

  for (const [method, url, body] of [
    ['PUT', `${boss}/password/`, { password: 'another password' }],
    ['POST', `${boss}/one-time-tokens/`, { purpose: 'password_reset' }],
    ['PATCH', `${boss}/`, { username: 'former' }],
    ['DELETE', `${boss}/`, undefined],
    ['PATCH', `${id}/`, { username: 'ｂoss' }],
    ['PATCH', `${id}/`, { claims: { role: 'admin' } }],
    ['POST', '', { username: 'new', claims: { role: 'admin' } }]
  ] as const)
    t.equal((await users(method, `/api/admin/users/${url}`, body)).statusCode, 403, `${method} ${url}`)
  t.equal((await admin('DELETE', `/api/admin/users/${boss}/`)).statusCode, 204)
  t.equal((await users('PATCH', `/api/admin/users/${id}/`, { username: 'boss' })).statusCode, 403, 'by its name')
  t.equal((await users('POST', '/api/admin/users/', { username: 'boss' })).statusCode, 403, 'by the name of a new user')
  t.match((await users('GET', `/api/admin/users/${id}/`)).json(), { username: 'ann', claims: { team: 'blue' } })

  const deactivated = { is_active: false }
  t.equal((await users('PATCH', `/api/admin/users/${id}/`, deactivated)).statusCode, 200, 'others may be changed')
  t.equal((await users('PATCH', `/api/admin/users/${broken}/`, deactivated)).statusCode, 500, 'unknown: refused')
  t.equal((await admin('PATCH', `/api/admin/users/${broken}/`, deactivated)).statusCode, 200, 'an administrator may')
})

t.test('a token acts no longer once its client, its scope or its user is gone', async (t) => {
  const service = await openApp(t)
  const { stores, clients } = service.app
  const [deleted, lessened] = [
    callAs(service, await clientToken(service, 'deleted', 'keyturn.users')),
    callAs(service, await clientToken(service, 'lessened', 'keyturn.users'))
  ]
  const user = callAs(service, await userToken(service, 'operator', 'keyturn.users'))
  const status = async (call: typeof user) => (await call('GET', '/api/admin/users/')).statusCode
  t.same([await status(deleted), await status(lessened), await status(user)], [200, 200, 200])
  await stores.clients.delete('deleted')
  await stores.database.query("UPDATE keyturn_clients SET scopes = 'keyturn.keys' WHERE id = 'lessened'")
  await clients.update()
  const { id = '' } = (await stores.users.findByUsername('operator')) ?? {}
  await stores.users.setActive(id, false)
  service.clock.advance(60)
  t.same([await status(deleted), await status(lessened), await status(user)], [401, 403, 401])
})

t.test('a client that is created again does not make the tokens of the former one valid', async (t) => {
  const service = await openApp(t)
  const gateway = await addClient(service)
  const statuses = async (token: string) => [
    (await callAs(service, token)('GET', '/api/admin/users/')).statusCode,
    (await service.post('/api/token/verify/', { token })).statusCode,
    (await gateway.post('/oauth/introspect', { token })).json().active
  ]
  const create = () => clientToken(service, 'shop', 'keyturn.users')
  const remove = () => service.app.stores.clients.delete('shop')
  const tokens = [await create()]
  for (const seconds of [0, 0, 1, 0, 5]) {
    t.same(await statuses(tokens.at(-1) ?? ''), [200, 200, true])
    await remove()
    service.clock.advance(seconds)
    const token = await create()
    for (const former of tokens) t.same(await statuses(former), [401, 401, false])
    t.same(await statuses(token), [200, 200, true], `created again after ${seconds} s`)
    tokens.push(token)
  }
  service.clock.advance(5)
  t.same(await statuses(tokens.at(-1) ?? ''), [200, 200, true])
})

t.test('with MANAGEMENT_PORT the endpoints are not served on the port of the service', async (t) => {
  const service = await openApp(t, { MANAGEMENT_PORT: '0' })
  const call = callAs(service, await clientToken(service, 'signup', 'keyturn.users'))
  t.equal((await call('GET', '/api/admin/users/')).statusCode, 404)
})
