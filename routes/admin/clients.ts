import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { showClient } from '../../src/clients/client.ts'
import { parseScopes } from '../../src/clients/scope.ts'
import { randomSecret } from '../../src/random.ts'
import {
  adminBodyRefusals,
  adminRefusals,
  management,
  needs,
  onManagementPort as config,
  pageOf
} from '../schemas/admin.ts'
import { nothing } from '../schemas/bodies.ts'
import { missing } from '../schemas/errors.ts'

const scope = 'keyturn.clients'
const ClientItem = {
  type: 'object',
  required: ['client_id', 'scope', 'created_at', 'secret_created_at'],
  properties: {
    client_id: { type: 'string' },
    scope: { type: 'string', description: 'Scopes that its own tokens may have, separated by spaces' },
    created_at: { type: 'string', format: 'date-time' },
    secret_created_at: { type: 'string', format: 'date-time' }
  }
}
const aClient = {
  client_id: 'shop',
  scope: 'keyturn.revocations',
  created_at: '2026-01-31T12:00:00Z',
  secret_created_at: '2026-01-31T12:00:00Z'
}
const Credentials = {
  title: 'ClientCredentials',
  description: 'The client and its secret, which is not shown again',
  type: 'object',
  required: ['client_id', 'client_secret'],
  properties: { client_id: { type: 'string' }, client_secret: { type: 'string' }, scope: { type: 'string' } },
  examples: [{ client_id: 'shop', client_secret: '…', scope: 'keyturn.revocations' }]
}
const CreateBody = {
  type: 'object',
  required: ['client_id'],
  properties: {
    client_id: { type: 'string', description: 'Lower-case letters, digits, dots, hyphens and underscores' },
    scope: { type: 'string', description: 'Scopes that its own tokens may have, separated by spaces' }
  },
  examples: [{ client_id: 'shop', scope: 'keyturn.revocations' }]
} as const
const maxOverlap = 30 * 86_400
const RotateBody = {
  type: 'object',
  properties: {
    overlap: {
      type: 'integer',
      minimum: 0,
      maximum: maxOverlap,
      description: 'How long the old secret stays valid, in whole seconds; 0 by default'
    }
  },
  examples: [{ overlap: 3600 }]
} as const
const ClientPath = {
  type: 'object',
  required: ['id'],
  properties: { id: { type: 'string', description: 'Id of the client', examples: ['shop'] } }
} as const

/** GET and POST /api/admin/clients/, DELETE …/{id}/, POST …/{id}/rotate-secret/. */
const clients: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const onRequest = app.admit(scope)
  const list = {
    ...management,
    summary: 'Client List',
    description: needs(scope, 'Lists all clients by id.'),
    response: { 200: pageOf('Clients', ClientItem, [aClient]), ...adminRefusals() }
  }
  app.get('/api/admin/clients', { schema: list, config, onRequest }, async () => ({
    results: (await app.manage.clients.list()).map(showClient),
    next: null
  }))

  const create = {
    ...management,
    summary: 'Client Create',
    description: needs(scope, 'Creates a client with a generated secret.'),
    body: CreateBody,
    response: {
      201: { ...Credentials, description: 'Created' },
      ...adminBodyRefusals(missing('client_id'), 'NAME_TAKEN', 'UNSUPPORTED_CHANGE')
    }
  }
  app.post('/api/admin/clients', { schema: create, config, onRequest }, async ({ actor, body }, reply) => {
    const [scopes, secret] = [parseScopes(body.scope ?? ''), randomSecret()]
    await app.manage.clients.create(actor, body.client_id, secret, scopes)
    reply.code(201).header('cache-control', 'no-store')
    return { client_id: body.client_id, client_secret: secret, scope: scopes.join(' ') }
  })

  const remove = {
    ...management,
    summary: 'Client Delete',
    description: needs(scope, 'Deletes a client; all processes refuse it within 2 seconds.'),
    params: ClientPath,
    response: { 204: nothing('Deleted'), ...adminRefusals(404) }
  }
  app.delete('/api/admin/clients/:id', { schema: remove, config, onRequest }, async ({ actor, params }, reply) => {
    await app.manage.clients.delete(actor, params.id)
    return reply.code(204).send(null)
  })

  const rotate = {
    ...management,
    summary: 'Client Rotate Secret',
    description: needs(scope, 'Replaces the secret of a client with a generated one.'),
    params: ClientPath,
    body: RotateBody,
    response: { 200: Credentials, ...adminBodyRefusals(404, missing('overlap')) }
  }
  const path = '/api/admin/clients/:id/rotate-secret'
  app.post(path, { schema: rotate, config, onRequest }, async ({ actor, params, body }, reply) => {
    const secret = randomSecret()
    await app.manage.clients.rotateSecret(actor, params.id, secret, body.overlap ?? 0)
    reply.header('cache-control', 'no-store')
    return { client_id: params.id, client_secret: secret }
  })
}
export default clients
