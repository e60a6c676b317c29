import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type Client, isProvenBy } from '../src/clients/client.ts'
import { type ClientParameters, readCredentials } from '../src/clients/credentials.ts'
import { type ClientDirectory, makeClientDirectory } from '../src/clients/directory.ts'
import type { Config } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import { valuesOf } from '../src/header-fields.ts'
import type { Limit } from '../src/limits/limiter.ts'
import { poll } from '../src/poll.ts'
import type { Clock } from '../src/time.ts'
import { callerNetwork, throttled } from './rate-limit.ts'

/** How often a worker reloads the clients, in milliseconds. A deleted client is accepted until then. */
const interval = 1000

/**
 * The number of failed authentications after which credentials are no longer checked. Counted by client id and address, so that
 * guessing does not lock out a service at another address, and a service with an outdated secret does not lock out other
 * clients; and by address alone, so that inventing ids allows neither more guesses nor more counters. Successes are not counted
 * and cost no command.
 */
const failuresOfClient: Limit = { max: 10, window: 60, isClosed: false }
const failuresOfAddress: Limit = { max: 100, window: 60, isClosed: false }

/**
 * This worker's copy of the clients, and `preValidation: app.authenticateClient`, which authenticates a client and sets
 * `request.client`.
 */
async function client(app: FastifyInstance, { config, clock }: { config: Config; clock: Clock }): Promise<void> {
  const directory = makeClientDirectory(app.stores.clients, config.revocationStaleness)
  await directory.update()
  follow(app, directory)
  // The address is counted first, so that the counter of an id is only created within the limit of the address.
  const failuresOf = (request: FastifyRequest, id: string) => {
    if (app.isUnlimited(request)) return []
    const ofAddress = `client:${callerNetwork(request)}`
    return [
      { name: ofAddress, limit: failuresOfAddress },
      { name: `${ofAddress} ${id.slice(0, 64)}`, limit: failuresOfClient }
    ]
  }
  app.decorate('clients', directory)
  app.decorateRequest('client')
  app.decorate('authenticateClient', async (request) => {
    const fields = valuesOf(request.raw, 'authorization')
    const credentials = readCredentials(fields, request.body as ClientParameters)
    const { id } = credentials[0]
    const failures = failuresOf(request, id)
    for (const { name, limit } of failures) {
      const wait = app.limiter.waitFor(name, limit)
      if (wait !== undefined) throw throttled(wait)
    }
    const proven = credentials.find((each) => isProvenBy(directory.find(each.id), each, clock()))
    if (proven === undefined) {
      for (const { name, limit } of failures) {
        const { number, left } = await app.limiter.count(name, limit)
        if (number > limit.max) throw throttled(left)
      }
      const isKnown = directory.find(id) !== undefined
      // An id that no client has may be a secret in the wrong place: it is not logged.
      throw new KeyturnError('CLIENT_INVALID', {
        detail: isKnown ? `the secret is not that of ${id}` : 'no such client'
      })
    }
    request.client = directory.find(proven.id) as Client
    request.outcome = { client_id: proven.id }
  })
}

/** Reloads the clients until the application closes. */
function follow(app: FastifyInstance, directory: ClientDirectory): void {
  const poller = poll(() => directory.update(), {
    intervalMs: interval,
    onOutage: (error) => app.log.warn({ err: error }, 'clients could not be read; keeping the current ones for now')
  })
  app.addHook('onClose', () => poller.close())
}

declare module 'fastify' {
  interface FastifyInstance {
    clients: ClientDirectory
    authenticateClient(request: FastifyRequest): Promise<void>
  }
  interface FastifyRequest {
    /** Only in routes that authenticate clients. */
    client: Client
  }
}

export default fp(client, { name: 'client', dependencies: ['stores', 'rate-limit'] })
