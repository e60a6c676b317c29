import { Busboy, type BusboyConfig } from '@fastify/busboy'

/** The maximum number of parts, several times the number of fields of any endpoint. */
const limits: NonNullable<BusboyConfig['limits']> = { parts: 100, headerPairs: 20, headerSize: 4096 }

/**
 * The fields of a multipart body; the last of repeated names wins; a part with a file name is an empty object. Rejects
 * if the body does not match its boundary. Node's own Response.formData() accepts different bodies in each Node release.
 * @see RFC 7578, RFC 2046 §5.1.1 (preamble, epilogue)
 */
export function parseMultipart(bytes: Buffer, contentType: string): Promise<object> {
  return new Promise((resolve, reject) => {
    const fields = new Map<string, unknown>()
    const parser = new Busboy({
      headers: { 'content-type': contentType },
      limits,
      isPartAFile: (_name, _type, fileName) => fileName !== undefined
    })
    parser.on('field', (name, value) => {
      // A part without a name has no field.
      if (name !== undefined) fields.set(name, value)
    })
    parser.on('file', (name, file) => {
      file.on('error', reject).resume()
      if (name !== undefined) fields.set(name, {})
    })
    parser.on('partsLimit', () => reject(new Error(`more than ${limits.parts} parts`)))
    parser.on('error', reject)
    parser.on('finish', () => resolve(Object.fromEntries(fields)))
    parser.end(bytes)
  })
}
