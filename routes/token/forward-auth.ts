import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseScope } from '../../src/clients/scope.ts'
import type { Config } from '../../src/config/settings.ts'
import { KeyturnError } from '../../src/errors.ts'
import type { Caller, Pass } from '../../src/flows/caller.ts'
import { valuesOf } from '../../src/header-fields.ts'
import { readBearer } from '../../src/tokens/bearer.ts'
import { bearerRefusals, openRefusals } from '../schemas/errors.ts'

const header = (description: string) => ({ type: 'string', description: `${description}; empty if absent` })
const Passed = {
  description: 'The request is allowed',
  type: 'object',
  properties: {},
  headers: {
    'X-Auth-User-Id': header('The user'),
    'X-Auth-Username': header('Username, percent-encoded'),
    'X-Auth-Session-Id': header('The session'),
    'X-Auth-Scope': header('Scopes of the token'),
    'X-Auth-Expires': header('Expiry of the token, in whole seconds since 1970')
  }
}

type Settings = Pick<Config, 'authHeaderTypes' | 'forwardAuthCookie' | 'forwardAuthMaxAge'>

/**
 * Any method /api/token/forward-auth/: reports whether a request is allowed, and whose it is. nginx auth_request, Traefik,
 * Caddy, Envoy, HAProxy and others send such a subrequest. Some keep the original method, and Envoy appends the path to a prefix.
 *
 * The status is 200, 401, 403, or 503 when the store is down; nginx turns any other status into 500. The decision is made in
 * onRequest, so that no body is read, and by the access token alone. The refresh cookie of COOKIE_MODE is ignored: it is for
 * Keyturn only (RFC 6749 §1.5), a proxy would pass it to every service behind it, and a thief could use it here without ever
 * rotating it, so the theft would not be detected.
 */
export default async function forwardAuth(
  app: FastifyInstance,
  { config }: { readonly config: Settings }
): Promise<void> {
  /** The token in Authorization; if that is absent or of another scheme, the tokens in the cookie. */
  const readTokens = (request: FastifyRequest): readonly string[] => {
    try {
      const fields = valuesOf(request.raw, 'authorization')
      return [readBearer(fields, config.authHeaderTypes, { anyCase: true })]
    } catch (error) {
      const name = config.forwardAuthCookie
      const inCookie = name === undefined ? [] : app.cookiesOf(request, name)
      if (inCookie.length > 0 && error instanceof KeyturnError && error.code === 'BEARER_MISSING') return inCookie
      throw error
    }
  }
  const vary = config.forwardAuthCookie === undefined ? 'Authorization' : 'Authorization, Cookie'
  for (const { url, requiredOf } of variants) {
    app.route({
      url,
      method: [...app.supportedMethods],
      schema: {
        // For proxies that append the path.
        ...(url.endsWith('*') ? { hide: true } : {}),
        tags: ['token'],
        summary: 'Forward Auth',
        description:
          'Reports to a proxy whether a request with this access token is allowed, and whose it is. Any method is accepted.',
        security: [{ bearer: [] }],
        querystring: {
          type: 'object',
          properties: { scope: { type: 'string', description: 'Required scopes, separated by spaces' } }
        },
        response: { 200: Passed, ...openRefusals(...bearerRefusals, 'SCOPE_MISSING', 'STORE_DOWN') }
      },
      config: { event: 'forward_auth', cors: false, answersAll: true },
      async onRequest(request, reply) {
        reply.header('vary', vary).header('cache-control', 'no-store')
        const required = requiredOf(request)
        const pass = await app.flows.tryEach(readTokens(request), (token) => app.flows.forwardAuth(token, required))
        const { userId: user_id, sid } = pass.caller
        request.outcome = { user_id, ...(sid === undefined ? {} : { sid }) }
        reply.headers(showCaller(pass.caller)).header('cache-control', cacheControl(pass, config.forwardAuthMaxAge))
        return reply.send({})
      },
      handler() {}
    })
  }
}

const path = '/api/token/forward-auth'

/** What a proxy that appends the path of the original request is given as a prefix. */
const prefix = `${path}/_`

/**
 * The endpoint, and below `/_` the paths of proxies that append the original one. There, path and query are those of the
 * original request, whose sender must not choose the required scopes. Every other path below the endpoint is answered 404: if a
 * proxy rewrites the endpoint's own path (`//`, `/..`, `/;`), its required scopes must not be lost.
 */
const variants: readonly { readonly url: string; requiredOf(request: FastifyRequest): readonly string[] }[] = [
  { url: path, requiredOf: ({ url }) => readRequired(url) },
  {
    url: `${prefix}*`,
    requiredOf({ url }) {
      if (!url.startsWith(`${prefix}/`)) throw new KeyturnError('NOT_FOUND')
      return []
    }
  }
]

/**
 * The scopes of every parameter with such a name, however it is spelled: ?scope=a, ?scope[]=a, ?Scopes=a. If it is empty, the
 * result is the empty scope, which no token has: the operator meant to require one. Other parameters are ignored: Caddy passes
 * the query of the original request unless its configuration has one.
 */
function readRequired(url: string): readonly string[] {
  const query = queryOf(url)
  if (query === '') return []
  return [...new URLSearchParams(query)]
    .filter(([name, value]) => namesScope.test(name.normalize('NFKC')) || /;\s*scopes?\b/i.test(value))
    .flatMap(([, value]) => {
      const scopes = parseScope(value)
      return scopes === undefined || scopes.length === 0 ? [''] : scopes
    })
}

const namesScope = /(^|\W)scopes?($|\W)/i

/** The query, including what follows a `#`, which the router takes for the end of the path. */
function queryOf(url: string): string {
  const mark = /[?#]/.exec(url)
  return mark === null ? '' : url.slice(mark.index + 1)
}

/**
 * Every response has all headers, empty if there is no value: if one were absent, some proxies would pass on the header that
 * the client sent.
 */
const showCaller = ({ userId, username, sid, scopes, expiresAt }: Caller): Readonly<Record<string, string>> => ({
  'x-auth-user-id': encode(userId),
  'x-auth-username': encode(username),
  'x-auth-session-id': encode(sid ?? ''),
  'x-auth-scope': scopes.join(' '),
  'x-auth-expires': String(Math.floor(expiresAt))
})

/**
 * One line of ASCII: all characters that are not printable, and the percent sign, are percent-encoded, so that decoding always
 * restores the original.
 */
const encode = (text: string): string =>
  /^[\x21-\x24\x26-\x7e]*$/.test(text)
    ? text
    : text.replace(/[^\x21-\x24\x26-\x7e]/gu, (each) =>
        Buffer.from(each).toString('hex').toUpperCase().replace(/../g, '%$&')
      )

/**
 * While a proxy caches this response, it does not see a revocation: at most as long as the operator allows, and as the token
 * is valid. Without `must-revalidate` a shared cache must not store a response to a request with Authorization (RFC 9111
 * §3.5).
 */
const cacheControl = ({ secondsLeft }: Pass, maxAge: number): string =>
  maxAge === 0 ? 'private, max-age=0' : `max-age=${Math.max(0, Math.min(maxAge, secondsLeft))}, must-revalidate`
