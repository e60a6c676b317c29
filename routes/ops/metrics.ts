import { isIPv6 } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { KeyturnError } from '../../src/errors.ts'
import { equalInConstantTime } from '../../src/random.ts'

export interface MetricsOptions {
  readonly token: string | undefined
  /** The metrics of all processes, where there are others. */
  readonly scrape: (() => Promise<string>) | undefined
}

/** GET /metrics: Prometheus text, all workers together, for whoever bears METRICS_TOKEN; without one, for this host only. */
export default async function metrics(app: FastifyInstance, { token, scrape }: MetricsOptions): Promise<void> {
  app.get('/metrics', { config: { quiet: true } }, async (request, reply) => {
    if (!isAllowed(request, token)) throw new KeyturnError('NOT_FOUND')
    reply.header('content-type', app.metrics.contentType)
    return await (scrape?.() ?? app.metrics.metrics())
  })
}

/** By the connection itself, not by what a proxy says of it: a request that was passed on does not come from this host. */
function isAllowed({ headers, socket }: FastifyRequest, token: string | undefined): boolean {
  if (token !== undefined) return equalInConstantTime(headers.authorization ?? '', `Bearer ${token}`)
  const address = socket.remoteAddress ?? ''
  const isLoopback = isIPv6(address)
    ? address === '::1' || address.startsWith('::ffff:127.')
    : address.startsWith('127.')
  return isLoopback && headers['x-forwarded-for'] === undefined && headers.forwarded === undefined
}
