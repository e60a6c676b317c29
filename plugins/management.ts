import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import { connectionLimits } from './connections.ts'
import { answerBrokenRequest } from './errors.ts'
import { answerExpectation } from './protocol.ts'

/**
 * With MANAGEMENT_PORT, health and metrics answer on a server of their own, `app.management`, and nothing else does; on the
 * service's own they are 404. It stops accepting when the service does (plugins/drain.ts): who probes while workers are relieved is
 * to be answered by those that stay.
 */
async function management(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  app.decorate('management', config.managementPort === undefined ? undefined : openManagement(app, config))
}

function openManagement(app: FastifyInstance, config: Config): Server {
  const { http, keepAliveTimeout, requestTimeout, connectionTimeout } = connectionLimits(config)
  const came = new WeakSet<IncomingMessage>()
  const server = createServer({ ...http, keepAliveTimeout, requestTimeout }, (request, response) => {
    came.add(request)
    app.routing(request, response)
  })
  server.setTimeout(connectionTimeout)
  server.maxHeadersCount = 0
  server.on('clientError', answerBrokenRequest)
  server.on('checkExpectation', answerExpectation(app))

  const urls = new Set<string>()
  app.addHook('onRoute', ({ url, config }) => {
    if (config?.isManagement === true) urls.add(url)
  })
  app.addHook('onRequest', function checkPort(request, _reply, done) {
    const belongs = urls.has(request.routeOptions.url ?? '') === came.has(request.raw)
    done(belongs ? undefined : new KeyturnError('NOT_FOUND'))
  })
  app.addHook('preClose', (done) => {
    server.close()
    server.closeAllConnections()
    done()
  })
  return server
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Listens where MANAGEMENT_PORT says; undefined when it says nothing. */
    management: Server | undefined
  }
  interface FastifyContextConfig {
    /** The route is for those who run the service. */
    isManagement?: boolean
  }
}

export default fp(management, { name: 'management', dependencies: ['errors', 'requests'] })
