import t from 'tap'
import { claimNames as namesOf } from '../../../../src/config/claim-names.ts'
import { loadConfig } from '../../../../src/config/load.ts'
import { KeyturnError } from '../../../../src/errors.ts'
import type { UsersForAct } from '../../../../src/flows/management/act.ts'
import { makeCreateUser, UserManagement } from '../../../../src/flows/management/users.ts'
import type { User } from '../../../../src/users/user.ts'
import { makeMemoryUsers, withRecord } from '../../../support/memory.ts'

const by = { actor: 'root@host', ip: '', requestId: 'x', scopes: undefined }
const claimNames = namesOf(loadConfig({}))
const digest = '!a'

/** Management of a user, with a record of its acts. The session store can be down. */
async function aUser({ isDown = false } = {}) {
  const users = makeMemoryUsers(() => 1_795_320_298)
  const { id } = (await users.create('vitor', digest)) ?? { id: '' }
  const recorded: string[] = []
  const usersForAct: UsersForAct = (event) => withRecord(users, (userId) => recorded.push(`${event} ${userId}`))
  const sessions = {
    async revokeAll() {
      if (isDown) throw new KeyturnError('STORE_DOWN')
      return ['a']
    }
  }
  const oneTimeTokens = { async deleteOf() {} }
  const parts = { users, sessions, oneTimeTokens, usersForAct, claimNames }
  return { parts, users, id, recorded, manage: new UserManagement(parts) }
}

t.test('an act has its entry although the sessions cannot be ended, and the call fails', async (t) => {
  const down = { code: 'STORE_DOWN' }
  const { manage, users, id, recorded } = await aUser({ isDown: true })
  await t.rejects(manage.setPassword(by, id, '!b'), down)
  t.equal((await users.findById(id))?.passwordHash, '!b')
  await t.rejects(manage.deactivate(by, id), down)
  t.equal((await users.findById(id))?.isActive, false)
  t.same(recorded.splice(0), [`user_password ${id}`, `user_deactivate ${id}`])
  await t.rejects(manage.delete(by, id), down)
  t.same(recorded, [], 'the user is inactive already')
  await users.setActive(id, true)
  await t.rejects(manage.delete(by, id), down)
  t.same(recorded, [`user_deactivate ${id}`], 'a user who could not be deleted is inactive')
})

t.test('a deletion has its entry although the sessions of a late login cannot be ended', async (t) => {
  const { parts, users, id, recorded } = await aUser()
  let calls = 0
  const sessions = {
    async revokeAll() {
      if (++calls > 1) throw new KeyturnError('STORE_DOWN')
      return []
    }
  }
  await t.rejects(new UserManagement({ ...parts, sessions }).delete(by, id), { code: 'STORE_DOWN' })
  t.equal(await users.findById(id), undefined)
  t.same(recorded, [`user_deactivate ${id}`, `user_delete ${id}`])
})

t.test('a user who was created without the claims that were asked for has an entry', async (t) => {
  const { parts, recorded } = await aUser()
  const setClaims = async () => {
    throw new KeyturnError('STORE_DOWN')
  }
  const create = makeCreateUser({ ...parts, users: { ...parts.users, setClaims } })
  await t.rejects(create(by, { username: 'ann', digest: undefined, claims: { a: 1 } }), { code: 'STORE_DOWN' })
  const { id } = (await parts.users.findByUsername('ann')) ?? { id: '' }
  t.same(recorded, [`user_create ${id}`])
})

t.test('several changes check the user as it is, and once after each change of a name or of claims', async (t) => {
  const { parts, users, id, recorded } = await aUser()
  const checked: string[] = []
  const scopesByHook = async ({ username, claims }: User): Promise<readonly string[]> => {
    checked.push(`${username} ${claims.team}`)
    return username === 'boss' && claims.team === 'blue' ? ['keyturn.admin'] : []
  }
  const manage = new UserManagement({ ...parts, scopesByHook })
  const signUp = { ...by, scopes: ['keyturn.users'] }
  await users.setClaims(id, { team: 'blue' })
  await manage.change(signUp, id, { username: 'ann', claims: { team: 'red' }, isActive: false })
  t.same(checked.splice(0), ['vitor blue', 'ann blue', 'ann red'])
  await manage.change(signUp, id, { isActive: true })
  t.same(checked.splice(0), ['ann red'])
  t.same(
    recorded.splice(0).map((act) => act.split(' ')[0]),
    ['user_rename', 'user_claims', 'user_deactivate', 'user_activate']
  )

  await users.setClaims(id, { team: 'blue' })
  const throughAdmin = manage.change(signUp, id, { username: 'boss', claims: { team: 'red' } })
  await t.rejects(
    throughAdmin,
    { code: 'SCOPE_MISSING' },
    'after the first change alone, the user would have the scope'
  )
  t.match(await users.findById(id), { username: 'ann', claims: { team: 'blue' } })
})

t.test('a deletion that the table cannot take changes nothing', async (t) => {
  const { parts, users, id, recorded } = await aUser()
  const refuse = async () => {
    throw new KeyturnError('UNSUPPORTED_CHANGE')
  }
  const manage = new UserManagement({ ...parts, users: { ...users, delete: refuse, demandDelete: refuse } })
  await t.rejects(manage.delete(by, id), { code: 'UNSUPPORTED_CHANGE' })
  t.equal((await users.findById(id))?.isActive, true)
  t.same(recorded, [])
})
