/* The least that a Fastify service is, for bench/boot.ts: one route, and a line when it listens. */
import Fastify from 'fastify'

const app = Fastify()
app.get('/health/live', async () => ({ status: 'up' }))
console.log(`listens on ${await app.listen({ port: 0, host: '127.0.0.1' })}`)
