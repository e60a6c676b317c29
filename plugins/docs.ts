import type { FastifyInstance, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'

/**
 * `app.docs()`: the document of the doors and its page, as an application of their own that is made when first asked for. What
 * they are made with is a hundred files, and most workers are never asked. It knows the doors that are registered after
 * this plugin, have a tag, and do not hide.
 */
async function docs(app: FastifyInstance): Promise<void> {
  const doors: RouteOptions[] = []
  app.addHook('onRoute', (route) => {
    // What takes every method is told as a GET.
    doors.push(route.config?.answersAll === true ? { ...route, method: 'GET' } : { ...route })
  })
  let made: Promise<FastifyInstance> | undefined
  const make = async () => (await import('./openapi.ts')).describe(doors)
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
