import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { maxTokenLength } from '../../src/tokens/jws.ts'
import { anAccessToken, Introspection } from '../schemas/bodies.ts'
import { bodyRefusals, missing, refusals } from '../schemas/errors.ts'

/** Maximum number of tokens per request. */
const maxTokens = 100

const TokensBody = {
  type: 'object',
  required: ['tokens'],
  properties: {
    tokens: {
      type: 'array',
      items: { type: 'string' },
      minItems: 1,
      maxItems: maxTokens,
      description: 'Tokens of any type'
    }
  },
  examples: [{ tokens: [anAccessToken, 'not a token'] }]
} as const

const Results = {
  description: 'One result per token, in the order of the request',
  type: 'object',
  required: ['results'],
  properties: { results: { type: 'array', items: Introspection } },
  examples: [{ results: [{ active: true, token_type: 'access', exp: 1795320298 }, { active: false }] }]
}

/**
 * POST /api/token/verify/batch/: verifies several tokens; returns the results in their order, with the claims of valid tokens.
 */
const verifyBatch: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['token'],
    summary: 'Token Verify Batch',
    description: `Verifies up to ${maxTokens} tokens of any type, and returns the claims of the valid ones.`,
    // A form cannot contain a list.
    consumes: ['application/json'],
    body: TokensBody,
    response: { 200: Results, ...refusals(missing('tokens'), ...bodyRefusals, 429, 503) }
  }
  const config = { event: 'verify' as const, rateLimit: app.rateLimits.verify }
  // The maximum number of tokens of maximum length, and white space between them.
  const bodyLimit = Math.max(app.initialConfig.bodyLimit ?? 0, maxTokens * (maxTokenLength + 64))
  app.post('/api/token/verify/batch', { schema, config, bodyLimit }, async (request, reply) => {
    const results = await app.flows.verifyBatch(request.body.tokens)
    request.outcome = { tokens: results.length, active: results.filter(({ active }) => active).length }
    reply.header('cache-control', 'no-store')
    return { results }
  })
}
export default verifyBatch
