import type { FastifyInstance } from 'fastify'

const quiet = { config: { quiet: true } }

/**
 * GET /health/live: 200 while the process turns, whatever the stores do. GET /health/ready: 200 when requests can be served,
 * 503 otherwise, with what is missing: a store, news of revocations, or the service itself, which is about to stop. Also under the names Kubernetes uses.
 */
export default async function health(app: FastifyInstance): Promise<void> {
  const live = async () => ({ status: 'up', checks: {} })
  for (const url of ['/health/live', '/livez']) app.get(url, quiet, live)

  for (const url of ['/health/ready', '/readyz', '/healthz']) {
    app.get(url, quiet, async (_request, reply) => {
      const revocations: 'up' | 'down' = app.revocations.isStale() ? 'down' : 'up'
      const serving: 'up' | 'down' = app.isDraining() ? 'down' : 'up'
      const checks = { ...(await app.stores.check()), revocations, serving }
      const isReady = Object.values(checks).every((state) => state === 'up')
      return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'up' : 'down', checks })
    })
  }
}
