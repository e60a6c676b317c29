import type { FastifyInstance } from 'fastify'

/** GET /openapi.json: the OpenAPI document of this service as it is configured, readable by tools in pages of every origin. */
export default async function document(app: FastifyInstance): Promise<void> {
  let text: string | undefined
  app.get('/openapi.json', { config: { quiet: true } }, async (_request, reply) => {
    text ??= JSON.stringify(app.swagger())
    return reply.header('access-control-allow-origin', '*').type('application/json').send(text)
  })
}
