import { MIMEType } from 'node:util'
import { Busboy, type BusboyConfig } from '@fastify/busboy'

/** The maximum number of parts, several times the number of fields of any endpoint. */
const limits: NonNullable<BusboyConfig['limits']> = { parts: 100, headerPairs: 20, headerSize: 4096 }

/** Why a multipart body is refused: a message for the client, without a part of the body. */
export class MultipartError extends Error {}

/**
 * The fields of a multipart body; the last of repeated names wins; a part with a file name is an empty object. Rejects with
 * MultipartError, or with another error if the body does not match its boundary. Node's own Response.formData() accepts different
 * bodies in each Node release.
 * @see RFC 7578, RFC 2046 §5.1.1 (preamble, epilogue, transport padding)
 */
export function parseMultipart(bytes: Buffer, contentType: string): Promise<object> {
  return new Promise((resolve, reject) => {
    const boundary = boundaryOf(contentType)
    const fields = new Map<string, unknown>()
    const parser = new Busboy({
      headers: { 'content-type': `multipart/form-data; boundary="${boundary.replace(/["\\]/g, '\\$&')}"` },
      limits,
      isPartAFile: (_name, _type, fileName) => fileName !== undefined
    })
    parser.on('field', (name, value, _isNameCut, _isCut, encoding) => {
      try {
        // A part without a name has no field.
        if (name !== undefined) fields.set(name, decode(value, encoding))
      } catch (error) {
        reject(error)
      }
    })
    parser.on('file', (name, file) => {
      file.on('error', reject).resume()
      if (name !== undefined) fields.set(name, {})
    })
    parser.on('partsLimit', () => reject(new Error(`more than ${limits.parts} parts`)))
    parser.on('error', reject)
    parser.on('finish', () => resolve(Object.fromEntries(fields)))
    parser.end(withoutPadding(bytes, boundary))
  })
}

function boundaryOf(contentType: string): string {
  const boundary = new MIMEType(contentType).params.get('boundary')
  if (!boundary) throw new MultipartError(`Invalid boundary in multipart: ${boundary ?? 'None'}`)
  return boundary
}

/** The body without the white space that may follow a boundary on its line, which busboy takes for the beginning of a header. */
function withoutPadding(bytes: Buffer, boundary: string): Buffer {
  const delimiter = `--${boundary.replace(/\W/g, '\\$&')}`
  const padded = new RegExp(`(?<=^|\\r\\n)(${delimiter}(?:--)?)[ \\t]+(?=\\r\\n|$)`, 'g')
  return Buffer.from(bytes.toString('latin1').replace(padded, '$1'), 'latin1')
}

/** The encodings of RFC 2045 §6.2 that leave a text as it is. */
const identities: ReadonlySet<string> = new Set(['7bit', '8bit', 'binary'])

/**
 * A text that was sent with this Content-Transfer-Encoding. RFC 7578 §4.7 deprecates the field; Django decodes base64, and takes
 * everything else for the text itself. Another encoding is refused here, so that no encoded text becomes a password.
 */
function decode(text: string, encoding: string): string {
  const name = encoding.trim()
  if (identities.has(name)) return text
  if (name !== 'base64') throw new MultipartError('a part has a Content-Transfer-Encoding other than base64')
  const base64 = text.replace(/\s/g, '')
  if (!/^(?:[a-z\d+/]{4})*(?:[a-z\d+/]{2}==|[a-z\d+/]{3}=)?$/i.test(base64))
    throw new MultipartError('a part has invalid base64')
  return Buffer.from(base64, 'base64').toString()
}
