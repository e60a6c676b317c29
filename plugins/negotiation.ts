import { METHODS } from 'node:http'
import type { FastifyInstance, FastifyRequest, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import makeRouter from 'find-my-way'
import { KeyturnError } from '../src/errors.ts'
import { isPreferred } from '../src/header-fields.ts'

interface Path {
  readonly url: string
  readonly methods: Set<string>
  readonly schema: FastifySchema | undefined
  allow: string
}

/** All methods that Node's parser accepts, for forward-auth. CONNECT never arrives as a request. */
const parsed = METHODS.filter((method) => method !== 'CONNECT')
const parses = ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data']

/**
 * Responds as Django REST framework does: `Allow` and `Vary` with every response; 406 for an Accept that excludes JSON; 405 for
 * an unsupported method; OPTIONS with the methods of the path. Registered before the routes, to collect their methods.
 *
 * A path is looked up a second time if no route has its method. A route for each of the 34 methods of each path would add a
 * quarter of a second of CPU to every start.
 */
async function negotiation(app: FastifyInstance): Promise<void> {
  const paths = new Map<string, Path>()
  const router = makeRouter({ ignoreTrailingSlash: true })
  const pathOf = ({ is404, url }: FastifyRequest, route = ''): Path | undefined =>
    is404 || isOfCors(route) ? router.find('GET', url)?.store : paths.get(route)
  app.decorate('templateOf', (request: FastifyRequest): string | undefined => {
    const url = request.endpoint?.url
    return request.is404 || isOfCors(url) ? pathOf(request, url)?.url : url
  })
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
    const { endpoint } = request
    const path = pathOf(request, endpoint?.url)
    if (path !== undefined) {
      const others = reply.getHeader('vary')
      reply.header('allow', path.allow).header('vary', others === undefined ? 'Accept' : `Accept, ${others}`)
    }
    const isOurs = request.url.startsWith('/api/') && endpoint?.config.answersAll !== true
    const { accept } = request.headers
    const alsoMakes = endpoint?.config.alsoMakes
    const isMade = alsoMakes !== undefined && isPreferred(alsoMakes, accept)
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

/** @fastify/cors has one route for all preflights, and passes other OPTIONS requests to the not-found handler. */
const isOfCors = (url: string | undefined): boolean => url === '*'

/** Whether `accept` allows JSON. Parameters such as q are ignored, as in Django REST framework. */
function isAcceptable(accept: string | undefined): boolean {
  if (accept === undefined || accept === '' || accept === '*/*' || accept === 'application/json') return true
  return accept.split(',').some((range) => /^\s*(\*\/\*|application\/(\*|json))\s*(;|$)/i.test(range))
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The template of a request's path, such as `/api/sessions/:id`, also if the path has no route for the method. */
    templateOf(request: FastifyRequest): string | undefined
  }
  interface FastifyContextConfig {
    /** A media type that the route can produce besides JSON. */
    alsoMakes?: string
    /** The route accepts every method and every Accept, which belong to the request that a proxy describes. */
    answersAll?: boolean
  }
  interface FastifySchema {
    summary?: string
    description?: string
    tags?: readonly string[]
  }
}

export default fp(negotiation, { name: 'negotiation', dependencies: ['errors', 'requests'] })
