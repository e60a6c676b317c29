import { anAccessToken } from './bodies.ts'

/** What the OAuth doors read, and nothing else (RFC 6749 §3.2). */
export const form = 'application/x-www-form-urlencoded'

/** A client proves itself by HTTP Basic, or by the two parameters below, for which OpenAPI has no scheme. */
export const byClient = [{ clientBasic: [] }, {}]

/** RFC 6749 §2.3.1. */
export const clientParameters = {
  client_id: { type: 'string', description: 'Name of the client, unless Authorization has it' },
  client_secret: { type: 'string', description: 'Secret of the client, unless Authorization has it' }
} as const

/** A token that a client asks about, or revokes. */
export const ClientTokenBody = {
  type: 'object',
  required: ['token'],
  properties: { token: { type: 'string', description: 'Any token of ours' }, ...clientParameters },
  examples: [{ token: anAccessToken }]
} as const
