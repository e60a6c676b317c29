import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { type PublicJwk, publicJwk } from '../../src/keys/jwk.ts'
import { nothing } from '../schemas/bodies.ts'
import { openRefusals } from '../schemas/errors.ts'

const Jwks = {
  title: 'Jwks',
  description: 'The next, active and retired keys',
  type: 'object',
  required: ['keys'],
  properties: { keys: { type: 'array', items: { type: 'object', additionalProperties: { type: 'string' } } } },
  examples: [{ keys: [{ kty: 'EC', crv: 'P-256', x: 'x378…', y: 'dcg9…', kid: 'ybEYRG25', alg: 'ES256', use: 'sig' }] }]
}

/**
 * GET /.well-known/jwks.json: the next, active and retired public keys of access tokens (RFC 7517 §5).
 * A secret has no public key, so with one the list is empty.
 */
export default async function jwks(app: FastifyInstance, { maxAge }: { readonly maxAge: number }): Promise<void> {
  const schema = {
    tags: ['keys'],
    summary: 'JSON Web Key Set',
    description: 'The public keys that verify access tokens.',
    response: { 200: Jwks, 304: nothing('The keys have not changed'), ...openRefusals() }
  }
  app.get('/.well-known/jwks.json', { schema }, async (request, reply) => {
    const keys = app.keyring.keys().verifying.map(publicJwk)
    const body = JSON.stringify({ keys: keys.filter((key): key is PublicJwk => key !== undefined) })
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
    // No stale-while-revalidate: a key is published for twice max-age before it signs, and not longer.
    reply
      .header('cache-control', `public, max-age=${maxAge}`)
      .header('etag', etag)
      .header('access-control-allow-origin', '*')
    if (request.headers['if-none-match']?.includes(etag)) return reply.code(304).send()
    return reply.type('application/json').send(body)
  })
}
