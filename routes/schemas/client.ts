import { anAccessToken } from './bodies.ts'

/** The only content type of the OAuth endpoints (RFC 6749 §3.2). */
export const form = 'application/x-www-form-urlencoded'

/** A client authenticates by HTTP Basic or by the two parameters below, for which OpenAPI has no scheme. */
export const byClient = [{ clientBasic: [] }, {}]

/** RFC 6749 §2.3.1. */
export const clientParameters = {
  client_id: { type: 'string', description: 'Client id, unless sent in Authorization' },
  client_secret: { type: 'string', description: 'Client secret, unless sent in Authorization' }
} as const

/** A token that a client introspects or revokes. */
export const ClientTokenBody = {
  type: 'object',
  required: ['token'],
  properties: { token: { type: 'string', description: 'An access, refresh or sliding token' }, ...clientParameters },
  examples: [{ token: anAccessToken }]
} as const
