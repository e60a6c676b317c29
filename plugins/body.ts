import { isUtf8 } from 'node:buffer'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { KeyturnError } from '../src/errors.ts'
import { valuesOf } from '../src/header-fields.ts'
import { JsonDepthError, parseJson } from '../src/json.ts'
import { MultipartError, parseMultipart } from './multipart.ts'

/**
 * Parses request bodies as Django REST framework does: JSON, forms and multipart; the last of repeated names wins; a request
 * without a body has no fields. Two Content-Type headers are refused. Field rules: plugins/fields.ts.
 */
async function body(app: FastifyInstance): Promise<void> {
  app.removeAllContentTypeParsers()
  const add = (type: string, parse: (bytes: Buffer, contentType: string) => unknown): void => {
    app.addContentTypeParser(type, { parseAs: 'buffer' }, (request: FastifyRequest, bytes: Buffer, done) => {
      demandOneType(request)
      const body = bytes.length === 0 ? {} : parse(bytes, request.headers['content-type'] ?? '')
      if (body instanceof Promise) return body
      done(null, body)
    })
  }
  add('application/json', readJson)
  add('application/x-www-form-urlencoded', (bytes) => Object.fromEntries(new URLSearchParams(bytes.toString())))
  add('multipart/form-data', readMultipart)
  add('*', (_bytes, contentType) => {
    throw new KeyturnError('MEDIA_TYPE', { detail: contentType })
  })
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.body === undefined) request.body = {}
    done()
  })
}

/** Node uses the first Content-Type, but a proxy that inspected the body may have used another. Throws KeyturnError MEDIA_TYPE. */
export function demandOneType({ raw }: FastifyRequest): void {
  const types = valuesOf(raw, 'content-type')
  if (types.length > 1) throw new KeyturnError('MEDIA_TYPE', { detail: types.join(', ') })
}

function readJson(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) throw unreadable('JSON parse error - the body is not UTF-8')
  try {
    // JSON.parse refuses what Django's parser is configured to refuse: NaN, Infinity, a byte order mark. Members named
    // __proto__ stay plain members.
    return parseJson(bytes.toString())
  } catch (error) {
    if (error instanceof JsonDepthError) throw unreadable(`JSON parse error - the body is ${error.message}`)
    // V8's own message quotes the body, which may contain a password.
    throw unreadable('JSON parse error - the body is not valid JSON')
  }
}

async function readMultipart(bytes: Buffer, contentType: string): Promise<unknown> {
  try {
    return await parseMultipart(bytes, contentType)
  } catch (error) {
    const reason = error instanceof MultipartError ? error.message : 'the body is not what its boundary says'
    throw unreadable(`Multipart form parse error - ${reason}`)
  }
}

const unreadable = (detail: string): KeyturnError => new KeyturnError('BODY_UNREADABLE', { detail })

export default fp(body, { name: 'body' })
