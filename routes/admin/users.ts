import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { KeyturnError } from '../../src/errors.ts'
import type { User } from '../../src/users/user.ts'
import {
  adminBodyRefusals,
  adminRefusals,
  anExampleUser,
  management,
  needs,
  onManagementPort as config,
  pageOf,
  showUser,
  UserItem,
  UserPath
} from '../schemas/admin.ts'
import { nothing } from '../schemas/bodies.ts'
import { missing, wrongQuery } from '../schemas/errors.ts'
import { pageQuery } from '../schemas/paging.ts'

const [read, write] = ['keyturn.users.read', 'keyturn.users'] as const
const username = { type: 'string', description: 'At most 254 characters; compared after NFKC' } as const
const isActive = { type: 'boolean', description: 'Whether the user may log in and refresh' } as const
const claims = { type: 'object', additionalProperties: true, description: 'Custom claims of access tokens' } as const
const UserAnswer = { title: 'User', description: 'The user', ...UserItem, examples: [anExampleUser] }

const NewUserBody = {
  type: 'object',
  required: ['username'],
  properties: {
    username,
    password: { type: 'string', description: 'Must satisfy the password policy' },
    password_digest: {
      type: 'string',
      description:
        'A digest of Keyturn or Django instead of a password. Without either, no login succeeds until a password is set'
    },
    is_active: isActive,
    claims
  },
  examples: [{ username: 'vitor', password: 'correct-horse-battery', claims: { team: 'blue' } }]
} as const

const ListQuery = {
  type: 'object',
  properties: {
    ...pageQuery,
    username: { type: 'string', description: 'Return only the user with this name' },
    search: { type: 'string', description: 'Return only users whose names begin with this text' }
  }
} as const

const UserDetail = {
  title: 'UserDetail',
  description: 'The user, with the number of sessions',
  ...UserItem,
  required: [...UserItem.required, 'sessions'],
  properties: {
    ...UserItem.properties,
    sessions: { type: 'integer', description: 'Live sessions, counted up to 1,000' }
  },
  examples: [{ ...anExampleUser, sessions: 2 }]
}

const ChangeBody = {
  type: 'object',
  properties: { username, is_active: isActive, claims },
  examples: [{ is_active: false }]
} as const

const PasswordBody = {
  type: 'object',
  required: ['password'],
  properties: { password: { type: 'string', description: 'Must satisfy the password policy' } },
  examples: [{ password: 'staple-under-the-bridge' }]
} as const

/** POST and GET /api/admin/users/. */
const collection: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const create = {
    ...management,
    summary: 'User Create',
    description: needs(write, 'Creates a user.'),
    body: NewUserBody,
    response: {
      201: { ...UserAnswer, description: 'Created' },
      ...adminBodyRefusals(missing('username'), 'NAME_TAKEN', 'UNSUPPORTED_CHANGE')
    }
  }
  const admit = app.admit(write)
  app.post('/api/admin/users', { schema: create, config, onRequest: admit }, async (request, reply) => {
    const { username, password, password_digest, is_active = true, claims } = request.body
    if (password !== undefined && password_digest !== undefined)
      throw new KeyturnError('FIELDS_INVALID', {
        fields: { password_digest: ['It cannot be combined with password.'] }
      })
    const digest = password === undefined ? password_digest : await app.digestOf(password, username)
    // Hashing takes up to seconds.
    if (password !== undefined) await admit(request)
    const user = await app.manage.createUser(request.actor, { username, digest, isActive: is_active, claims })
    return reply.code(201).send(showUser(user))
  })

  const list = {
    ...management,
    summary: 'User List',
    description: needs(read, 'Lists users by name, page by page.'),
    querystring: ListQuery,
    response: { 200: pageOf('Users', UserItem, [anExampleUser]), ...adminRefusals(wrongQuery(ListQuery)) }
  }
  app.get('/api/admin/users', { schema: list, config, onRequest: app.admit(read) }, async ({ query }, reply) => {
    reply.header('cache-control', 'no-store')
    if (query.username !== undefined) {
      const user = await app.stores.users.findByUsername(query.username)
      return { results: user === undefined ? [] : [showUser(user)], next: null }
    }
    const { users, next } = await app.manage.listUsers({
      limit: query.limit,
      after: query.after,
      prefix: query.search
    })
    return { results: users.map(showUser), next: next ?? null }
  })
}

const ofUser = { ...management, params: UserPath }

/** GET and PATCH /api/admin/users/{id}/. */
const one: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const detail = async (user: User) => {
    const sessions = await app.stores.sessions.list(user.id, { limit: 1000 })
    return { ...showUser(user), sessions: sessions.length }
  }
  const get = {
    ...ofUser,
    summary: 'User Detail',
    description: needs(read, 'Returns a user.'),
    response: { 200: UserDetail, ...adminRefusals(404) }
  }
  app.get('/api/admin/users/:id', { schema: get, config, onRequest: app.admit(read) }, async ({ params }, reply) => {
    reply.header('cache-control', 'no-store')
    return await detail(await app.manage.getUser(params.id))
  })

  const change = {
    ...ofUser,
    summary: 'User Change',
    description: needs(write, 'Changes a user. Deactivation ends all sessions.'),
    body: ChangeBody,
    response: { 200: UserAnswer, ...adminBodyRefusals(404, missing('claims'), 'NAME_TAKEN', 'UNSUPPORTED_CHANGE') }
  }
  app.patch('/api/admin/users/:id', { schema: change, config, onRequest: app.admit(write) }, async (request) => {
    const { actor, params, body } = request
    const changes = { username: body.username, isActive: body.is_active, claims: body.claims }
    return showUser(await app.manage.users.change(actor, params.id, changes))
  })
}

/** DELETE /api/admin/users/{id}/, and PUT …/password/. */
const endings: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const remove = {
    ...ofUser,
    summary: 'User Delete',
    description: needs(write, 'Deletes a user and ends all sessions.'),
    response: { 204: nothing('Deleted'), ...adminRefusals(404, 'UNSUPPORTED_CHANGE') }
  }
  app.delete(
    '/api/admin/users/:id',
    { schema: remove, config, onRequest: app.admit(write) },
    async (request, reply) => {
      await app.manage.users.delete(request.actor, request.params.id)
      return reply.code(204).send(null)
    }
  )

  const password = {
    ...ofUser,
    summary: 'User Password',
    description: needs(write, 'Sets the password of a user and ends all sessions.'),
    body: PasswordBody,
    response: { 204: nothing('The password is set'), ...adminBodyRefusals(404, missing('password'), 'BUSY') }
  }
  const admit = app.admit(write)
  const options = { schema: password, config, onRequest: admit }
  app.put('/api/admin/users/:id/password', options, async (request, reply) => {
    const { params, body } = request
    const { username } = await app.manage.users.get(request.actor, params.id)
    const digest = await app.digestOf(body.password, username)
    // Hashing takes up to seconds.
    await admit(request)
    await app.manage.users.setPassword(request.actor, params.id, digest)
    return reply.code(204).send(null)
  })
}

/** Users, for clients and users with the scopes keyturn.users and keyturn.users.read. */
const users: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  await app.register(collection)
  await app.register(one)
  await app.register(endings)
}
export default users
