import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { KeyturnError } from '../src/errors.ts'

/**
 * Reads request bodies as Django REST framework does: JSON, forms and multipart; of repeated names the last counts; a
 * request without a body, or without a Content-Length, has no fields. Two types of one body are none. Field rules are not its business (plugins/fields.ts).
 */
async function body(app: FastifyInstance): Promise<void> {
  app.removeAllContentTypeParsers()
  const add = (type: string, parse: (bytes: Buffer, contentType: string) => unknown): void => {
    app.addContentTypeParser(type, { parseAs: 'buffer' }, async (request: FastifyRequest, bytes: Buffer) => {
      // A chunked body has no Content-Length, and Django behind Gunicorn does not see it.
      const isAbsent = bytes.length === 0 || request.headers['content-length'] === undefined
      return isAbsent ? {} : parse(bytes, request.headers['content-type'] ?? '')
    })
  }
  add('application/json', parseJson)
  add('application/x-www-form-urlencoded', (bytes) => Object.fromEntries(new URLSearchParams(bytes.toString())))
  add('multipart/form-data', parseMultipart)
  add('*', (_bytes, contentType) => {
    throw new KeyturnError('MEDIA_TYPE', { detail: contentType })
  })
  app.addHook('preParsing', ({ raw }, _reply, payload, done) => {
    const types = valuesOf(raw, 'content-type')
    // Node reads the first; a proxy that looked at the body may have gone by another.
    done(types.length > 1 ? new KeyturnError('MEDIA_TYPE', { detail: types.join(', ') }) : null, payload)
  })
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.body === undefined) request.body = {}
    done()
  })
}

/** All values of a header field, of which `headers` has one where only one may be. */
const valuesOf = ({ rawHeaders }: IncomingMessage, field: string): readonly string[] =>
  rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === field)

function parseJson(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) throw unreadable('JSON parse error - the body is not UTF-8')
  try {
    // JSON.parse refuses what Django's parser is set to refuse: NaN, Infinity, a byte order mark. Members named
    // __proto__ stay plain members.
    return JSON.parse(bytes.toString())
  } catch {
    // V8's own message quotes the body, and with it perhaps a password.
    throw unreadable('JSON parse error - the body is not valid JSON')
  }
}

async function parseMultipart(bytes: Buffer, contentType: string): Promise<unknown> {
  if (!/;\s*boundary=/i.test(contentType))
    throw unreadable('Multipart form parse error - Invalid boundary in multipart: None')
  try {
    const form = await new Response(bytes, { headers: { 'content-type': contentType } }).formData()
    return Object.fromEntries(form)
  } catch {
    throw unreadable('Multipart form parse error - the body is not what its boundary says')
  }
}

const unreadable = (detail: string): KeyturnError => new KeyturnError('BODY_UNREADABLE', { detail })

export default fp(body, { name: 'body' })
