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

/** Only the first of several names is in the OpenAPI document. */
const described = (index: number, schema: object) => ({ ...schema, hide: index > 0 })

/**
 * GET /health/live: 200 while the process turns, whatever the stores do. GET /health/ready: 200 when requests can be served,
 * 503 otherwise, with what is missing: a store, news of revocations, or the service itself, which is about to stop. Also under the names Kubernetes uses.
 */
export default async function health(app: FastifyInstance): Promise<void> {
  const live = async () => ({ status: 'up', checks: {} })
  const liveness = {
    tags: ['ops'],
    summary: 'Health Live',
    description: 'Whether the process turns. Also as /livez.',
    response: { 200: answer('It turns', 'up', {}) }
  }
  for (const [index, url] of ['/health/live', '/livez'].entries())
    app.get(url, { config, schema: described(index, liveness) }, live)

  const checks = { database: 'up', sessions: 'up', revocations: 'up', serving: 'up' }
  const readiness = {
    tags: ['ops'],
    summary: 'Health Ready',
    description: 'Whether requests can be served. Also as /readyz and /healthz.',
    response: {
      200: answer('They can', 'up', checks),
      503: answer('They cannot, and why', 'down', { ...checks, database: 'down' })
    }
  }
  for (const [index, url] of ['/health/ready', '/readyz', '/healthz'].entries()) {
    app.get(url, { config, schema: described(index, readiness) }, async (_request, reply) => {
      const revocations: 'up' | 'down' = app.revocations.isStale() ? 'down' : 'up'
      const serving: 'up' | 'down' = app.isDraining() ? 'down' : 'up'
      const checks = { ...(await app.stores.check()), revocations, serving }
      const isReady = Object.values(checks).every((state) => state === 'up')
      return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'up' : 'down', checks })
    })
  }
}
