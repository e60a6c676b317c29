import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { KeyturnError } from '../src/errors.ts'

/**
 * What the OAuth doors have in common, to be registered in their own context: a body is a form that names each
 * parameter once, and one without a value is absent (RFC 6749 §3.2); no answer is kept (§5.1).
 */
async function form(app: FastifyInstance): Promise<void> {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    async (_request: FastifyRequest, text: string) => parseForm(text)
  )
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store').header('pragma', 'no-cache')
  })
}

function parseForm(text: string): Readonly<Record<string, string>> {
  const parameters = [...new URLSearchParams(text)]
  const names = new Set(parameters.map(([name]) => name))
  if (names.size < parameters.length)
    throw new KeyturnError('OAUTH_REQUEST', { detail: 'A parameter is there more than once.' })
  return Object.fromEntries(parameters.filter(([, value]) => value !== ''))
}

export default fp(form, { name: 'form', dependencies: ['errors'] })
