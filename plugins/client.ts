import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type Client, isProvenBy } from '../src/clients/client.ts'
import { type ClientParameters, readCredentials } from '../src/clients/credentials.ts'
import { type ClientDirectory, makeClientDirectory } from '../src/clients/directory.ts'
import type { Config } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import type { Limit } from '../src/limits/limiter.ts'
import { poll } from '../src/poll.ts'
import type { Clock } from '../src/time.ts'
import { clientNetwork, throttled } from './rate-limit.ts'

/** How often a worker reads the clients again, in milliseconds: a deleted client is accepted for as long. */
const interval = 1000

/**
 * Failed authentications before the credentials are no longer looked at: of one client id from one address, so that a
 * guesser locks out no service elsewhere and a service with an outdated secret no neighbour; and of one address with all
 * ids, so that ids of the caller's own choice give it neither more guesses nor more counters. Successes are not counted
 * and cost no command.
 */
const failuresOfClient: Limit = { max: 10, window: 60, isClosed: false }
const failuresOfAddress: Limit = { max: 100, window: 60, isClosed: false }

/**
 * The clients as this worker knows them, and `preValidation: app.authenticateClient`, which lets in one of them as
 * `request.client`.
 */
async function client(app: FastifyInstance, { config, clock }: { config: Config; clock: Clock }): Promise<void> {
  const directory = makeClientDirectory(app.stores.clients, config.revocationStaleness)
  await directory.update()
  follow(app, directory)
  // The address comes first: the counter of an id is only made within the limit of the address.
  const failuresOf = (request: FastifyRequest, id: string) => {
    if (app.isUnlimited(request)) return []
    const ofAddress = `client:${clientNetwork(request)}`
    return [
      { name: ofAddress, limit: failuresOfAddress },
      { name: `${ofAddress} ${id.slice(0, 64)}`, limit: failuresOfClient }
    ]
  }
  app.decorate('clients', directory)
  app.decorateRequest('client')
  app.decorate('authenticateClient', async (request) => {
    const credentials = readCredentials(request.headers.authorization, request.body as ClientParameters)
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
        detail: isKnown ? `another secret than ${id}'s` : 'no such client'
      })
    }
    request.client = directory.find(proven.id) as Client
    request.outcome = { client_id: proven.id }
  })
}

/** Reads the clients again until the application closes. */
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
