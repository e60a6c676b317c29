import fastifyCookie, { type SerializeOptions } from '@fastify/cookie'
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import { parseOrigin } from '../src/origins.ts'

interface Pair {
  readonly access: string
  readonly refresh?: string
}

/** With COOKIE_MODE on, the refresh token is in a cookie that scripts cannot read. */
export interface RefreshCookie {
  /** Whether COOKIE_MODE is on: then response bodies contain no refresh token. */
  readonly enabled: boolean
  /**
   * `onRequest` of every route that sets or clears the cookie, whether its token comes from the body or the cookie. Otherwise
   * another site's page could replace or end its visitor's session. Throws KeyturnError CROSS_SITE. A native app sends neither
   * Origin nor Sec-Fetch-Site, and no page can make it send a request.
   */
  readonly guard: onRequestHookHandler
  /**
   * The tokens in the cookie, in the order of the header, for a request whose body has none. Throws KeyturnError CROSS_SITE
   * if the page that sent the request may not use it, and FIELDS_INVALID if there is no cookie either.
   */
  demand(request: FastifyRequest): readonly string[]
  /** The tokens in the cookie of a login, which only identify the browser. */
  find(request: FastifyRequest): readonly string[]
  /** The response body for a pair: in cookie mode the refresh token goes into the cookie instead. */
  handOver(reply: FastifyReply, pair: Pair): Pair
  clear(reply: FastifyReply): void
}

async function cookie(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  const { cookieName: name, cookieMode: enabled, cookieDomain: domain } = config
  // Only some routes read cookies, and they need all cookies of a name, which the plugin's own hook does not return.
  if (enabled || config.forwardAuthCookie !== undefined) await app.register(fastifyCookie, { hook: false })
  app.decorate('cookiesOf', ({ headers: { cookie = '' } }: FastifyRequest, name: string) =>
    cookie.split(';').flatMap((pair) => app.parseCookie(pair)[name] ?? [])
  )
  const hostOnly: SerializeOptions = {
    httpOnly: true,
    secure: true,
    path: '/',
    sameSite: config.cookieSamesite.toLowerCase() as 'strict' | 'lax' | 'none'
  }
  const attributes = domain === undefined ? hostOnly : { ...hostOnly, domain }
  const demandAllowed = (request: FastifyRequest): void => {
    if (!isFromAllowedPage(request, config.cookieOrigins))
      throw new KeyturnError('CROSS_SITE', { detail: `from ${request.headers.origin ?? 'no origin'}` })
  }
  const find = (request: FastifyRequest) => (enabled ? app.cookiesOf(request, name) : [])
  app.decorate('refreshCookie', {
    enabled,
    guard(request, _reply, done) {
      const { origin, 'sec-fetch-site': site } = request.headers
      if (enabled && (origin !== undefined || site !== undefined)) demandAllowed(request)
      done()
    },
    demand(request) {
      const tokens = find(request)
      if (tokens.length === 0)
        throw new KeyturnError('FIELDS_INVALID', { fields: { refresh: ['This field is required.'] } })
      demandAllowed(request)
      return tokens
    },
    find,
    handOver(reply, pair) {
      if (!enabled || pair.refresh === undefined) return pair
      // A header, which plugins/acts.ts can remove; the cookies of setCookie are added after its hook.
      const cookie = app.serializeCookie(name, pair.refresh, { ...attributes, maxAge: config.refreshTokenLifetime })
      reply.header('set-cookie', cookie)
      // One of them was set before COOKIE_DOMAIN.
      if (domain !== undefined && find(reply.request).length > 1) reply.clearCookie(name, hostOnly)
      return { access: pair.access }
    },
    clear(reply) {
      if (!enabled) return
      reply.clearCookie(name, attributes)
      if (domain !== undefined) reply.clearCookie(name, hostOnly)
    }
  })
}

/**
 * Whether the page behind a request is ours or in COOKIE_ORIGINS. SameSite alone would allow sibling subdomains, and None would
 * allow every site. A browser sends Origin with every POST; without it, only its Sec-Fetch-Site counts.
 * Source: Fetch §3.2 (Origin), W3C Fetch Metadata (Sec-Fetch-Site).
 */
function isFromAllowedPage(request: FastifyRequest, origins: readonly string[]): boolean {
  const { origin, 'sec-fetch-site': site } = request.headers
  if (origin === undefined) return site === 'same-origin'
  const page = parseOrigin(origin)
  if (page === undefined) return false
  if (origins.includes(page)) return true
  const isOwn = page === parseOrigin(`${request.protocol}://${request.host}`)
  return isOwn && site !== 'cross-site' && site !== 'same-site'
}

declare module 'fastify' {
  interface FastifyInstance {
    refreshCookie: RefreshCookie
    /** The values of all cookies of this name, in the order of the header. */
    cookiesOf(request: FastifyRequest, name: string): readonly string[]
  }
}

export default fp(cookie, { name: 'cookie', dependencies: ['errors'] })
