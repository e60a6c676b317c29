import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseScope } from '../../src/clients/scope.ts'
import type { Config } from '../../src/config/settings.ts'
import { KeyturnError } from '../../src/errors.ts'
import type { Caller, Pass } from '../../src/flows/caller.ts'
import { readBearer } from '../../src/tokens/bearer.ts'
import { bearerRefusals, openRefusals } from '../schemas/errors.ts'

const header = (description: string) => ({ type: 'string', description: `${description}; empty where there is none` })
const Passed = {
  description: 'It may pass',
  type: 'object',
  properties: {},
  headers: {
    'X-Auth-User-Id': header('The user'),
    'X-Auth-Username': header('Its name, percent-encoded'),
    'X-Auth-Session-Id': header('The session'),
    'X-Auth-Scope': header('The scopes of the token'),
    'X-Auth-Expires': header('The end of the token, in whole seconds since 1970')
  }
}

type Settings = Pick<Config, 'authHeaderTypes' | 'forwardAuthCookie' | 'forwardAuthMaxAge'>

/**
 * Any method /api/token/forward-auth/: may this request pass, and whose is it? As nginx auth_request, Traefik, Caddy,
 * Envoy, HAProxy and others ask about each request of theirs. Some of them keep its method, and Envoy appends its path.
 *
 * The answer is 200, 401, 403, or 503 when it cannot be known: nginx makes a 500 of anything else. It is found in
 * onRequest, so that no body is read, and by the access token alone. The refresh cookie of COOKIE_MODE counts for
 * nothing: it is for Keyturn only (RFC 6749 §1.5), a proxy would hand it to every service behind it, and whoever stole
 * it could use it here without ever rotating it, which is how a theft is found.
 */
export default async function forwardAuth(
  app: FastifyInstance,
  { config }: { readonly config: Settings }
): Promise<void> {
  /** The token in Authorization; where that is absent or meant for the service behind, those in the cookie. */
  const readTokens = (request: FastifyRequest): readonly string[] => {
    try {
      return [readBearer(request.headers.authorization, config.authHeaderTypes, { anyCase: true })]
    } catch (error) {
      const name = config.forwardAuthCookie
      const inCookie = name === undefined ? [] : app.cookiesOf(request, name)
      if (inCookie.length > 0 && error instanceof KeyturnError && error.code === 'BEARER_MISSING') return inCookie
      throw error
    }
  }
  const vary = config.forwardAuthCookie === undefined ? 'Authorization' : 'Authorization, Cookie'
  for (const { url, requiredOf } of doors) {
    app.route({
      url,
      method: [...app.supportedMethods],
      schema: {
        // Proxies that append a path find the same door.
        ...(url.endsWith('*') ? { hide: true } : {}),
        tags: ['token'],
        summary: 'Forward Auth',
        description:
          'Tells a proxy whether the request with this access token may pass, and whose it is. Any method will do.',
        security: [{ bearer: [] }],
        querystring: {
          type: 'object',
          properties: { scope: { type: 'string', description: 'The scopes it takes, with blanks between them' } }
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

/**
 * Below the endpoint the path and the query are those of the request asked about, which must not choose what is required
 * of it. A path that only seems to be below it, as `//`, `/.` or `/;x`, is the endpoint itself.
 */
const doors: readonly { readonly url: string; requiredOf(request: FastifyRequest): readonly string[] }[] = [
  { url: path, requiredOf: ({ url }) => readRequired(url) },
  { url: `${path}/*`, requiredOf: ({ url }) => (isNearMiss(url) ? readRequired(url) : []) }
]

/** Whether a proxy that normalises paths makes the endpoint of this one, or it has the query in its path. */
function isNearMiss(url: string): boolean {
  const [encoded = ''] = url.split('?', 1)
  const [decoded = ''] = decodeURIComponent(encoded).split(/[?&#]/, 1)
  const segments: string[] = []
  for (const segment of decoded.split(/[/\\]/).map((each) => each.replace(/;.*$/, '').trim())) {
    if (segment === '..') segments.pop()
    else if (segment !== '' && segment !== '.') segments.push(segment)
  }
  return `/${segments.join('/')}` === path
}

/**
 * The scopes of each parameter that names some, however it is spelled: ?scope=a, ?scope[]=a, ?Scopes=a. A scope that no
 * token has, which is the empty one, where it names none: the operator meant one.
 */
function readRequired(url: string): readonly string[] {
  const query = queryOf(url)
  if (query === '') return []
  return [...new URLSearchParams(query)]
    .filter(([name, value]) => namesScope.test(name) || /;\s*scopes?\b/i.test(value))
    .flatMap(([, value]) => {
      const scopes = parseScope(value)
      return scopes === undefined || scopes.length === 0 ? [''] : scopes
    })
}

const namesScope = /(^|\W)scopes?($|\W)/i

/** The query, and what looks like one in the path: the endpoint's own path has no such character. */
function queryOf(url: string): string {
  const mark = /[?;&#]|%3f|%3b|%26|%23/i.exec(url)
  return mark === null ? '' : url.slice(mark.index + mark[0].length)
}

/**
 * Each header is there in every answer, empty where there is nothing to tell: of one that is missing some proxies would
 * pass on what the client itself has sent.
 */
const showCaller = ({ userId, username, sid, scopes, expiresAt }: Caller): Readonly<Record<string, string>> => ({
  'x-auth-user-id': encode(userId),
  'x-auth-username': encode(username),
  'x-auth-session-id': encode(sid ?? ''),
  'x-auth-scope': scopes.join(' '),
  'x-auth-expires': String(Math.floor(expiresAt))
})

/**
 * One line of ASCII: all but what prints is percent-encoded, and the percent sign too, so that decoding always gives
 * the original.
 */
const encode = (text: string): string =>
  /^[\x21-\x24\x26-\x7e]*$/.test(text)
    ? text
    : text.replace(/[^\x21-\x24\x26-\x7e]/gu, (each) =>
        Buffer.from(each).toString('hex').toUpperCase().replace(/../g, '%$&')
      )

/**
 * For as long as a proxy may go by this answer, a revocation is not seen: never longer than the operator said, nor than
 * the token lives. Without `must-revalidate` a shared cache may not keep what was asked with Authorization (RFC 9111
 * §3.5).
 */
const cacheControl = ({ secondsLeft }: Pass, most: number): string =>
  most === 0 ? 'private, max-age=0' : `max-age=${Math.max(0, Math.min(most, secondsLeft))}, must-revalidate`
