/* In place of plugins/metrics.ts: counts nothing and adds no hook. bench/observability.ts puts it into a copy of the service. */
import type { Registry } from '@platformatic/prom-client'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

async function noMetrics(app: FastifyInstance): Promise<void> {
  const results: ReadonlyMap<string, number> = new Map()
  app.decorate('resultCounts', { login: results, refresh: results, verify: results } as FastifyInstance['resultCounts'])
  app.decorate('tallies', {} as FastifyInstance['tallies'])
  app.decorate('addGauge', () => {})
  app.decorate('addTimings', () => ({ add: () => {} }) as unknown as ReturnType<FastifyInstance['addTimings']>)
  app.decorate('metrics', async () => ({ getMetricsAsJSON: async () => [] }) as unknown as Registry)
}

export default fp(noMetrics, { name: 'metrics', dependencies: ['requests'] })
