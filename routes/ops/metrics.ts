import type { FastifyInstance, FastifyRequest } from 'fastify'
import { makeAddressSet } from '../../src/addresses.ts'
import { KeyturnError } from '../../src/errors.ts'
import { equalInConstantTime } from '../../src/random.ts'
import { openRefusals } from '../schemas/errors.ts'

export interface MetricsRouteOptions {
  readonly token: string | undefined
  /** The metrics of all processes, where there are others. */
  readonly scrape: (() => Promise<string>) | undefined
}

/** GET /metrics: Prometheus text, all workers together, for whoever bears METRICS_TOKEN; without one, for this host only. */
export default async function metrics(app: FastifyInstance, { token, scrape }: MetricsRouteOptions): Promise<void> {
  const schema = {
    tags: ['ops'],
    summary: 'Metrics',
    description: 'The figures of all workers together. Without METRICS_TOKEN for this host only.',
    security: [{ metricsToken: [] }, {}],
    response: {
      200: {
        description: 'Prometheus text',
        content: { 'text/plain': { schema: { type: 'string', examples: ['keyturn_logins_total{result="ok"} 42'] } } }
      },
      ...openRefusals('NOT_FOUND')
    }
  }
  app.get('/metrics', { schema, config: { quiet: true, isManagement: true } }, async (request, reply) => {
    if (!isAllowed(request, token)) throw new KeyturnError('NOT_FOUND')
    const registry = await app.metrics()
    reply.header('content-type', registry.contentType)
    return await (scrape?.() ?? registry.metrics())
  })
}

/** One of these is on what a proxy passed on, unless it was told to leave them all out. */
const signsOfProxies = ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'forwarded', 'via']

const isLoopback = makeAddressSet(['127.0.0.0/8', '::1'])

/** Decided by the connection, not by what a proxy reports: a request that a proxy passed on does not come from this host. */
function isAllowed({ headers, socket }: FastifyRequest, token: string | undefined): boolean {
  if (token !== undefined) return equalInConstantTime(headers.authorization ?? '', `Bearer ${token}`)
  return isLoopback(socket.remoteAddress) && !signsOfProxies.some((name) => headers[name] !== undefined)
}
