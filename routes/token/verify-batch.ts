import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { longestToken } from '../../src/tokens/jws.ts'
import { anAccessToken, Introspection } from '../schemas/bodies.ts'
import { bodyRefusals, missing, refusals } from '../schemas/errors.ts'

/** Tokens that may be verified at once. */
const most = 100

const TokensBody = {
  type: 'object',
  required: ['tokens'],
  properties: {
    tokens: { type: 'array', items: { type: 'string' }, minItems: 1, maxItems: most, description: 'Tokens of any type' }
  },
  examples: [{ tokens: [anAccessToken, 'not a token'] }]
} as const

const Results = {
  description: 'One answer a token, in their order',
  type: 'object',
  required: ['results'],
  properties: { results: { type: 'array', items: Introspection } },
  examples: [{ results: [{ active: true, token_type: 'access', exp: 1795320298 }, { active: false }] }]
}

/**
 * POST /api/token/verify/batch/: what verify says of each of several tokens, in their order, and the claims of those
 * that are good.
 */
const verifyBatch: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['token'],
    summary: 'Token Verify Batch',
    description: `Takes up to ${most} tokens of any type and says of each whether it is good, with its claims.`,
    // A form cannot hold a list.
    consumes: ['application/json'],
    body: TokensBody,
    response: { 200: Results, ...refusals(missing('tokens'), ...bodyRefusals, 429, 503) }
  }
  const config = { event: 'verify' as const, rateLimit: app.rateLimits.verify }
  // As many tokens as there may be, each as long as it may be, and blanks between them.
  const bodyLimit = Math.max(app.initialConfig.bodyLimit ?? 0, most * (longestToken + 64))
  app.post('/api/token/verify/batch', { schema, config, bodyLimit }, async (request, reply) => {
    const results = await app.flows.verifyBatch(request.body.tokens)
    request.outcome = { tokens: results.length, active: results.filter(({ active }) => active).length }
    reply.header('cache-control', 'no-store')
    return { results }
  })
}
export default verifyBatch
