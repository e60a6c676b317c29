import { isUtf8 } from 'node:buffer'
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
    app.addContentTypeParser(type, { parseAs: 'buffer' }, (request: FastifyRequest, bytes: Buffer, done) => {
      demandOneType(request)
      // A chunked body has no Content-Length, and Django behind Gunicorn does not see it.
      const isAbsent = bytes.length === 0 || request.headers['content-length'] === undefined
      const body = isAbsent ? {} : parse(bytes, request.headers['content-type'] ?? '')
      if (body instanceof Promise) return body
      done(null, body)
    })
  }
  add('application/json', parseJson)
  add('application/x-www-form-urlencoded', (bytes) => Object.fromEntries(new URLSearchParams(bytes.toString())))
  add('multipart/form-data', parseMultipart)
  add('*', (_bytes, contentType) => {
    throw new KeyturnError('MEDIA_TYPE', { detail: contentType })
  })
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.body === undefined) request.body = {}
    done()
  })
}

/** Node reads the first Content-Type; a proxy that looked at the body may have gone by another. Throws KeyturnError MEDIA_TYPE. */
export function demandOneType({ raw: { rawHeaders } }: FastifyRequest): void {
  const types: string[] = []
  for (let name = 0; name < rawHeaders.length; name += 2) {
    if (isContentType(rawHeaders[name] ?? '')) types.push(rawHeaders[name + 1] ?? '')
  }
  if (types.length > 1) throw new KeyturnError('MEDIA_TYPE', { detail: types.join(', ') })
}

const isContentType = (name: string): boolean => name.length === 12 && name.toLowerCase() === 'content-type'

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
