import { METHODS } from 'node:http'
import type { FastifyInstance, FastifyRequest, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import makeRouter from 'find-my-way'
import { KeyturnError } from '../src/errors.ts'

interface Path {
  readonly url: string
  readonly methods: Set<string>
  readonly schema: FastifySchema | undefined
  allow: string
}

/** All that Node's parser knows: forward-auth takes them all. CONNECT never arrives as a request. */
const parsed = METHODS.filter((method) => method !== 'CONNECT')
const parses = ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data']

/**
 * What Django REST framework says around every answer: `Allow` and `Vary`; 406 for an Accept that JSON does not meet; 405
 * for the methods a path does not have; OPTIONS with what it takes. Registered before the routes, to know the methods of each.
 *
 * A path is looked up once more when no route has its method. To have a route for each of the 34 methods at each path
 * took a quarter of a second of CPU at every start.
 */
async function negotiation(app: FastifyInstance): Promise<void> {
  const paths = new Map<string, Path>()
  const router = makeRouter({ ignoreTrailingSlash: true })
  const pathOf = ({ is404, url }: FastifyRequest, route = ''): Path | undefined =>
    is404 || isOfCors(route) ? router.find('GET', url)?.store : paths.get(route)
  for (const method of parsed) if (!app.supportedMethods.includes(method)) app.addHttpMethod(method)
  app.addHook('onRoute', ({ url, method, schema, config }) => {
    if (isOfCors(url) || config?.answersAll === true) return
    const path = paths.get(url) ?? { url, methods: new Set(), schema, allow: '' }
    for (const each of [method].flat()) path.methods.add(each)
    path.allow = [...path.methods, 'OPTIONS'].join(', ')
    if (!paths.has(url)) router.on('GET', url, () => {}, path)
    paths.set(url, path)
  })
  app.addHook('onRequest', function negotiate(request, reply, done) {
    // Fastify makes this object anew each time it is asked for.
    const { url, config } = request.routeOptions
    const path = pathOf(request, url)
    if (path !== undefined) {
      const others = reply.getHeader('vary')
      reply.header('allow', path.allow).header('vary', others === undefined ? 'Accept' : `Accept, ${others}`)
    }
    const isOurs = request.url.startsWith('/api/') && config.answersAll !== true
    const { accept } = request.headers
    const isMade = config.alsoMakes !== undefined && accept?.includes(config.alsoMakes) === true
    if (isOurs && !isMade && !isAcceptable(accept)) done(new KeyturnError('NOT_ACCEPTABLE'))
    else if (request.is404 && path !== undefined && request.method !== 'OPTIONS')
      done(new KeyturnError('METHOD', { detail: request.method }))
    else done()
  })
  app.setNotFoundHandler(async (request, reply) => {
    const path = pathOf(request, request.routeOptions.url)
    if (path === undefined) throw new KeyturnError('NOT_FOUND')
    const { url, schema } = path
    reply.code(200)
    return { name: schema?.summary ?? url, description: schema?.description ?? '', renders: [parses[0]], parses }
  })
}

/** @fastify/cors has one route for all preflights, and hands what is none to the handler of what is not found. */
const isOfCors = (url: string | undefined): boolean => url === '*'

/** Whether a client that sent `accept` takes JSON. Parameters, q among them, are not weighed: neither does the reference. */
function isAcceptable(accept: string | undefined): boolean {
  if (accept === undefined || accept === '' || accept === '*/*' || accept === 'application/json') return true
  return accept.split(',').some((range) => /^\s*(\*\/\*|application\/(\*|json))\s*(;|$)/i.test(range))
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A media type that the route makes beside JSON. */
    alsoMakes?: string
    /** The route takes every method and every Accept, which are not meant for us. */
    answersAll?: boolean
  }
  interface FastifySchema {
    summary?: string
    description?: string
    tags?: readonly string[]
  }
}

export default fp(negotiation, { name: 'negotiation', dependencies: ['errors'] })
