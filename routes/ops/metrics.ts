import type { FastifyInstance, FastifyRequest } from 'fastify'
import { makeAddressSet } from '../../src/addresses.ts'
import { KeyturnError } from '../../src/errors.ts'
import { valuesOf } from '../../src/header-fields.ts'
import { equalInConstantTime } from '../../src/random.ts'
import { openRefusals } from '../schemas/errors.ts'

export interface MetricsRouteOptions {
  readonly token: string | undefined
  /** The metrics of all processes, if there are several. */
  readonly scrape: (() => Promise<string>) | undefined
}

/** GET /metrics: Prometheus text for all workers together. Requires METRICS_TOKEN; without one, only this host has access. */
export default async function metrics(app: FastifyInstance, { token, scrape }: MetricsRouteOptions): Promise<void> {
  const schema = {
    tags: ['ops'],
    summary: 'Metrics',
    description: 'The metrics of all workers together. Without METRICS_TOKEN, only this host has access.',
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

/** A proxy adds one of these headers, unless it is configured to omit all of them. */
const signsOfProxies = ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'forwarded', 'via']

const isLoopback = makeAddressSet(['127.0.0.0/8', '::1'])

/** Decided by the connection, not by what a proxy reports: a request that a proxy passed on does not come from this host. */
function isAllowed({ headers, raw, socket }: FastifyRequest, token: string | undefined): boolean {
  if (token !== undefined) {
    const [field = '', ...others] = valuesOf(raw, 'authorization')
    return others.length === 0 && equalInConstantTime(field, `Bearer ${token}`)
  }
  return isLoopback(socket.remoteAddress) && !signsOfProxies.some((name) => headers[name] !== undefined)
}
