import { METHODS } from 'node:http'
import type { FastifyInstance, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import { KeyturnError } from '../src/errors.ts'

interface Path {
  readonly methods: Set<string>
  readonly schema: FastifySchema | undefined
  allow: string
}

/** All that Node's parser knows, so that no method falls through to 404. CONNECT never arrives as a request. */
const closable = METHODS.filter((method) => method !== 'OPTIONS' && method !== 'CONNECT')
const parses = ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data']

/**
 * What Django REST framework says around every answer: `Allow` and `Vary`; 406 for an Accept that JSON does not meet; 405
 * for the methods a path does not have; OPTIONS with what it takes. Registered before the routes; `app.closePaths()` is
 * called after the last one, when the methods of every path are known.
 */
async function negotiation(app: FastifyInstance): Promise<void> {
  const paths = new Map<string, Path>()
  let closing = false
  for (const method of closable) if (!app.supportedMethods.includes(method)) app.addHttpMethod(method)
  app.addHook('onRoute', ({ url, method, schema, config }) => {
    // '*' is @fastify/cors' own, for preflights to paths that are not there.
    if (closing || url === '*' || config?.answersAll === true) return
    const path = paths.get(url) ?? { methods: new Set(), schema, allow: '' }
    for (const each of [method].flat()) path.methods.add(each)
    path.allow = [...path.methods, 'OPTIONS'].join(', ')
    paths.set(url, path)
  })
  app.addHook('onRequest', (request, reply, done) => {
    const path = paths.get(request.routeOptions.url ?? '')
    if (path !== undefined) reply.header('allow', path.allow).header('vary', 'Accept')
    const isOurs = request.url.startsWith('/api/') && request.routeOptions.config.answersAll !== true
    done(!isOurs || isAcceptable(request.headers.accept) ? undefined : new KeyturnError('NOT_ACCEPTABLE'))
  })
  app.decorate('closePaths', () => {
    closing = true
    for (const [url, { methods, schema }] of paths) {
      const about = {
        name: schema?.summary ?? url,
        description: schema?.description ?? '',
        renders: [parses[0]],
        parses
      }
      app.options(url, async () => about)
      app.route({
        url,
        method: closable.filter((method) => !methods.has(method)),
        onRequest: refuseMethod,
        handler: refuseMethod
      })
    }
  })
}

async function refuseMethod({ method }: { readonly method: string }): Promise<never> {
  throw new KeyturnError('METHOD', { detail: method })
}

/** Whether a client that sent `accept` takes JSON. Parameters, q among them, are not weighed: neither does the reference. */
function isAcceptable(accept: string | undefined): boolean {
  if (accept === undefined || accept === '' || accept === '*/*' || accept === 'application/json') return true
  return accept.split(',').some((range) => /^\s*(\*\/\*|application\/(\*|json))\s*(;|$)/i.test(range))
}

declare module 'fastify' {
  interface FastifyInstance {
    closePaths(): void
  }
  interface FastifyContextConfig {
    /** The route takes every method and every Accept, which are not meant for us. */
    answersAll?: boolean
  }
  interface FastifySchema {
    summary?: string
    description?: string
    tags?: readonly string[]
  }
}

export default fp(negotiation, { name: 'negotiation' })
