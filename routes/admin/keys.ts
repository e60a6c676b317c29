import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { showKey } from '../../src/keys/store.ts'
import { showTime } from '../../src/time.ts'
import {
  adminBodyRefusals,
  adminRefusals,
  aKey,
  KeyItem,
  management,
  needs,
  onManagementPort as config,
  pageOf
} from '../schemas/admin.ts'
import { missing } from '../schemas/errors.ts'

const scope = 'keyturn.keys'
const Rotated = {
  title: 'RotatedKey',
  description: 'The new key, and the time from which it signs',
  ...KeyItem,
  required: [...KeyItem.required, 'signs_from'],
  properties: { ...KeyItem.properties, signs_from: { type: 'string', format: 'date-time' } },
  examples: [{ ...aKey, signs_from: '2026-01-31T12:10:05Z' }]
}
const RotateBody = {
  type: 'object',
  properties: {
    immediate: {
      type: 'boolean',
      description: 'Sign at once; verifiers with a cached JWKS may refuse its tokens until they fetch the JWKS again'
    }
  },
  examples: [{ immediate: false }]
} as const

/** GET /api/admin/keys/ and POST …/rotate/: the managed keys, never their private halves. */
const keys: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const onRequest = app.admit(scope)
  const list = {
    ...management,
    summary: 'Key List',
    description: needs(scope, 'Lists the keys that sign access tokens; none if SIGNING_KEY is set.'),
    response: { 200: pageOf('Keys', KeyItem, [aKey]), ...adminRefusals() }
  }
  app.get('/api/admin/keys', { schema: list, config, onRequest }, async () => ({
    results: (await app.manage.keys.list()).map(showKey),
    next: null
  }))

  const rotate = {
    ...management,
    summary: 'Key Rotate',
    description: needs(scope, 'Publishes a new key, which signs once every verifier has had time to fetch it.'),
    body: RotateBody,
    response: { 200: Rotated, ...adminBodyRefusals(missing('immediate'), 'UNSUPPORTED_CHANGE') }
  }
  app.post('/api/admin/keys/rotate', { schema: rotate, config, onRequest }, async ({ actor, body }) => {
    const { key, signsFrom } = await app.manage.keys.rotate(actor, { isImmediate: body.immediate === true })
    return { ...showKey(key), signs_from: showTime(signsFrom) }
  })
}
export default keys
