import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { KeyturnError } from '../src/errors.ts'
import { demandOneType } from './body.ts'

/**
 * The common rules of the OAuth endpoints, registered in their own context: a body is a form that contains each
 * parameter once, unless its specification allows more; an empty parameter counts as absent (RFC 6749 §3.2); no response is cached (§5.1).
 */
async function form(app: FastifyInstance): Promise<void> {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    (request: FastifyRequest, text: string, done) => {
      demandOneType(request)
      done(null, parseForm(text))
    }
  )
  app.addHook('onRequest', function forbidStoring(_request, reply, done) {
    reply.header('cache-control', 'no-store').header('pragma', 'no-cache')
    done()
  })
}

/** Parameters whose specification lets them be repeated (RFC 8707 §2). */
const repeatable: ReadonlySet<string> = new Set(['resource'])

function parseForm(text: string): Readonly<Record<string, string>> {
  const parameters = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(text)) {
    if (parameters.has(name) && !repeatable.has(name))
      throw new KeyturnError('OAUTH_REQUEST', { detail: 'Duplicate parameter.' })
    parameters.set(name, value)
  }
  for (const [name, value] of parameters) if (value === '') parameters.delete(name)
  return Object.fromEntries(parameters)
}

export default fp(form, { name: 'form', dependencies: ['errors'] })
