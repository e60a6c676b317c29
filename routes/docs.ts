import type { FastifyInstance } from 'fastify'

/**
 * GET /openapi.json: the OpenAPI document of this service as configured. GET /docs: a page to read it and try the endpoints.
 * Both are served by a separate application (plugins/docs.ts).
 */
export default async function docs(app: FastifyInstance): Promise<void> {
  for (const url of ['/openapi.json', '/docs', '/docs/*']) {
    app.get(url, { config: { quiet: true } }, async (request, reply) => {
      const answer = await (await app.docs()).inject({ url: request.url, headers: request.headers })
      const { connection: _, date: __, ...headers } = answer.headers
      return reply.code(answer.statusCode).headers(headers).send(answer.rawPayload)
    })
  }
}
