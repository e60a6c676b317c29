import fastifyCookie, { type CookieSerializeOptions } from '@fastify/cookie'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'

interface Pair {
  readonly access: string
  readonly refresh?: string
}

/** The refresh token's way to browsers: in a cookie that no script sees, when COOKIE_MODE is on. */
export interface RefreshCookie {
  /** Whether COOKIE_MODE is on: the refresh token then leaves the bodies. */
  readonly enabled: boolean
  /** Refuses a login that a page elsewhere sends, to log its visitor in as somebody else. Throws KeyturnError CROSS_SITE. */
  guardLogin(request: FastifyRequest): void
  /**
   * The token in the cookie, for a request whose body has none. Throws KeyturnError CROSS_SITE when the page that sent the
   * request may not use it, and FIELDS_INVALID when there is no cookie either.
   */
  demand(request: FastifyRequest): string
  /** The token in the cookie of a login, which only shows whose browser it is; undefined for none. */
  find(request: FastifyRequest): string | undefined
  /** A pair as a body: in cookie mode the refresh token goes into the cookie instead. */
  handOver(reply: FastifyReply, pair: Pair): Pair
  clear(reply: FastifyReply): void
}

async function cookie(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  const { cookieName: name, cookieMode: enabled } = config
  // Who has no use for cookies does not pay for reading them.
  if (enabled || config.forwardAuthCookie !== undefined) await app.register(fastifyCookie)
  const attributes: CookieSerializeOptions = {
    httpOnly: true,
    secure: true,
    path: '/',
    sameSite: config.cookieSamesite.toLowerCase() as 'strict' | 'lax' | 'none',
    ...(config.cookieDomain === undefined ? {} : { domain: config.cookieDomain })
  }
  const demandAllowed = (request: FastifyRequest): void => {
    if (!isFromAllowedPage(request, config.cookieOrigins))
      throw new KeyturnError('CROSS_SITE', { detail: `from ${request.headers.origin ?? 'no origin'}` })
  }
  app.decorate('refreshCookie', {
    enabled,
    guardLogin(request) {
      // An app sends no Origin, and cannot be made to send a request by a page.
      if (enabled && request.headers.origin !== undefined) demandAllowed(request)
    },
    demand(request) {
      const token = request.cookies[name]
      if (token === undefined)
        throw new KeyturnError('FIELDS_INVALID', { fields: { refresh: ['This field is required.'] } })
      demandAllowed(request)
      return token
    },
    find: (request) => (enabled ? request.cookies[name] : undefined),
    handOver(reply, pair) {
      if (!enabled || pair.refresh === undefined) return pair
      reply.setCookie(name, pair.refresh, { ...attributes, maxAge: config.refreshTokenLifetime })
      return { access: pair.access }
    },
    clear(reply) {
      if (enabled) reply.clearCookie(name, attributes)
    }
  })
}

/**
 * Whether the page behind a request is ours or named in COOKIE_ORIGINS. SameSite alone would let sibling subdomains in, and
 * None lets everybody in. A browser sends Origin with every POST; without it only its own word that the page is ours counts.
 * Source: Fetch §3.2 (Origin), W3C Fetch Metadata (Sec-Fetch-Site).
 */
function isFromAllowedPage(request: FastifyRequest, origins: readonly string[]): boolean {
  const { origin, 'sec-fetch-site': site } = request.headers
  if (origin === undefined) return site === 'same-origin'
  if (origins.includes(origin)) return true
  return origin === `${request.protocol}://${request.host}` && site !== 'cross-site' && site !== 'same-site'
}

declare module 'fastify' {
  interface FastifyInstance {
    refreshCookie: RefreshCookie
  }
}

export default fp(cookie, { name: 'cookie', dependencies: ['errors'] })
