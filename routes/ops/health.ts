import type { FastifyInstance } from 'fastify'

const config = { quiet: true, isManagement: true }
const State = { type: 'string', enum: ['up', 'down'] }
const Health = {
  title: 'Health',
  type: 'object',
  required: ['status', 'checks'],
  properties: { status: State, checks: { type: 'object', additionalProperties: State } }
}
const answer = (description: string, status: 'up' | 'down', checks: object) => ({
  ...Health,
  description,
  examples: [{ status, checks }]
})

/** Only the first of several paths is in the OpenAPI document. */
const described = (index: number, schema: object) => ({ ...schema, hide: index > 0 })

/**
 * GET /health/live: 200 while the process is alive, whatever the state of the stores. GET /health/ready: 200 while the
 * service can answer requests, otherwise 503 with the check that failed: a store, the revocation feed, or `serving`, which
 * is down once the service stops. A worker that is only replaced stays ready. Also under the names Kubernetes uses.
 */
export default async function health(app: FastifyInstance): Promise<void> {
  const live = async () => ({ status: 'up', checks: {} })
  const liveness = {
    tags: ['ops'],
    summary: 'Health Live',
    description: 'Whether the process is alive. Also served as /livez.',
    response: { 200: answer('The process is alive', 'up', {}) }
  }
  for (const [index, url] of ['/health/live', '/livez'].entries())
    app.get(url, { config, schema: described(index, liveness) }, live)

  const checks = { database: 'up', sessions: 'up', revocations: 'up', serving: 'up' }
  const readiness = {
    tags: ['ops'],
    summary: 'Health Ready',
    description: 'Whether the service can answer requests. Also served as /readyz and /healthz.',
    response: {
      200: answer('Ready', 'up', checks),
      503: answer('Not ready; the failed checks are down', 'down', { ...checks, database: 'down' })
    }
  }
  for (const [index, url] of ['/health/ready', '/readyz', '/healthz'].entries()) {
    app.get(url, { config, schema: described(index, readiness) }, async (_request, reply) => {
      const revocations: 'up' | 'down' = app.revocations.isStale() ? 'down' : 'up'
      const serving: 'up' | 'down' = app.isStopping() ? 'down' : 'up'
      const checks = { ...(await app.stores.check()), revocations, serving }
      const isReady = Object.values(checks).every((state) => state === 'up')
      if (!isReady) reply.header('retry-after', app.retryAfter())
      return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'up' : 'down', checks })
    })
  }
}
