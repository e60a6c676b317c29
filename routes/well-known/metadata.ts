import type { FastifyInstance, RouteHandlerMethod } from 'fastify'
import type { ClaimNames } from '../../src/config/claim-names.ts'
import { KeyturnError } from '../../src/errors.ts'
import { openRefusals } from '../schemas/errors.ts'

export interface MetadataOptions {
  readonly issuer: string | undefined
  /** Whole seconds. */
  readonly maxAge: number
  /** The claims of access tokens that settings may rename. */
  readonly names: ClaimNames
}

const Metadata = {
  title: 'Metadata',
  description: 'Authorization server metadata (RFC 8414 §2)',
  type: 'object',
  required: ['issuer', 'jwks_uri'],
  properties: { issuer: { type: 'string' }, jwks_uri: { type: 'string' } },
  additionalProperties: true,
  examples: [{ issuer: 'https://auth.example', jwks_uri: 'https://auth.example/.well-known/jwks.json' }]
}

/** The two names of the document. */
const names = {
  serverMetadata: '/.well-known/oauth-authorization-server',
  openidConfiguration: '/.well-known/openid-configuration'
}

/**
 * Where clients look for `name`: at the root, and if the issuer has a path, in front of that path (RFC 8414 §3.1) and
 * behind it (OpenID Connect Discovery §4). A proxy that strips the path finds it at the root.
 */
function placesOf(name: string, issuer: string | undefined): readonly string[] {
  const path = issuer !== undefined && URL.canParse(issuer) ? new URL(issuer).pathname.replace(/\/+$/, '') : ''
  // A route cannot contain an asterisk or an encoded character.
  if (path === '' || /[*%]/.test(path)) return [name]
  // A colon begins a parameter in a route unless it is doubled.
  const route = path.replaceAll(':', '::')
  return [name, name + route, route + name]
}

/**
 * GET /.well-known/oauth-authorization-server (RFC 8414), and the same as /.well-known/openid-configuration, where most gateways
 * look for the JWKS and the OAuth endpoints. The issuer is exactly ISSUER. Without ISSUER the answer is 404, since the client
 * would control a URL made from the request's Host.
 */
export default async function metadata(
  app: FastifyInstance,
  { issuer, maxAge, names: claims }: MetadataOptions
): Promise<void> {
  const schema = {
    tags: ['keys'],
    summary: 'Server Metadata',
    description: 'Metadata of this authorization server: issuer, JWKS and OAuth endpoints.',
    response: { 200: Metadata, ...openRefusals('NO_METADATA') }
  }
  const answer: RouteHandlerMethod = async (_request, reply) => {
    if (issuer === undefined || !URL.canParse(issuer)) throw new KeyturnError('NO_METADATA')
    reply.header('cache-control', `public, max-age=${maxAge}`).header('access-control-allow-origin', '*')
    return describe(issuer, claims, app)
  }
  for (const [operationId, name] of Object.entries(names)) {
    for (const [index, url] of placesOf(name, issuer).entries())
      app.get(url, { schema: { ...schema, operationId, hide: index > 0 } }, answer)
  }
}

/** How a client may authenticate at the OAuth endpoints (src/clients/credentials.ts). */
const methods = ['client_secret_basic', 'client_secret_post']

function describe(issuer: string, { jti, user_id, token_type }: ClaimNames, app: FastifyInstance): object {
  const base = issuer.replace(/\/$/, '')
  return {
    issuer,
    jwks_uri: `${base}/.well-known/jwks.json`,
    token_endpoint: `${base}/oauth/token`,
    token_endpoint_auth_methods_supported: methods,
    grant_types_supported: ['refresh_token', 'client_credentials'],
    introspection_endpoint: `${base}/oauth/introspect`,
    introspection_endpoint_auth_methods_supported: methods,
    revocation_endpoint: `${base}/oauth/revoke`,
    revocation_endpoint_auth_methods_supported: methods,
    // RFC 8414 §2 requires the field and §3.2 forbids an empty list, but Keyturn has no authorization endpoint.
    response_types_supported: ['none'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: [app.keyring.keys().signing.algorithm],
    // Each once: USER_ID_CLAIM may be `sub`.
    claims_supported: [
      ...new Set(['iss', 'sub', 'aud', 'exp', 'iat', jti, 'sid', user_id, token_type, 'client_id', 'scope'])
    ]
  }
}
