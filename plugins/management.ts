import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import { connectionLimits } from './connections.ts'
import { handleProtocol, refuseBroken } from './protocol.ts'

/**
 * With MANAGEMENT_PORT, a separate server, `app.management`, serves health, metrics, the management endpoints and the console;
 * on the service's own port they are 404. With the console, both serve the endpoints that it logs in with. The server stops
 * accepting when the service does (plugins/drain.ts), so that during a reload the new workers answer probes.
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
  server.on('clientError', refuseBroken)
  handleProtocol(server)

  const [own, shared] = [new Set<string>(), new Set<string>()]
  app.addHook('onRoute', ({ url, config: route }) => {
    if (route?.isManagement === true) own.add(url)
    if (route?.isForConsole === true && config.console) shared.add(url)
  })
  app.addHook('onRequest', function checkPort(request, _reply, done) {
    const url = app.templateOf(request) ?? ''
    const belongs = shared.has(url) || own.has(url) === came.has(request.raw)
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
    /** Listens on MANAGEMENT_PORT; undefined if that is not set. */
    management: Server | undefined
  }
  interface FastifyContextConfig {
    /** The route is for operators. */
    isManagement?: boolean
    /** The console logs in with this route. */
    isForConsole?: boolean
  }
}

export default fp(management, { name: 'management', dependencies: ['errors', 'requests'] })
