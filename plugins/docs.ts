import type { FastifyInstance, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'

/**
 * `app.docs()`: the OpenAPI document and its page, served by a second application that is created at the first request for
 * them. @fastify/swagger can only be registered before an application is ready. In the main application, it would cost every
 * worker 0.24 s of CPU time at startup, a fifth of the total, and 8 MB (bench/results.md), although most workers never get such
 * a request. The document describes the routes that are registered after this plugin, have a tag, and are not hidden.
 */
async function docs(app: FastifyInstance): Promise<void> {
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => {
    // A route for every method is described as a GET.
    routes.push(route.config?.answersAll === true ? { ...route, method: 'GET' } : { ...route })
  })
  let made: Promise<FastifyInstance> | undefined
  const make = async () => (await import('./openapi.ts')).describe(routes)
  app.decorate('docs', () => {
    made ??= make()
    return made
  })
  app.addHook('onClose', async () => {
    await (await made)?.close()
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    docs(): Promise<FastifyInstance>
  }
}

export default fp(docs, { name: 'docs', dependencies: ['negotiation'] })
