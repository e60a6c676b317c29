import { Busboy, type BusboyConfig } from '@fastify/busboy'

/** A body has at most as many parts as any endpoint has fields, several times over. */
const limits: NonNullable<BusboyConfig['limits']> = { parts: 100, headerPairs: 20, headerSize: 4096 }

/**
 * The fields of a multipart body, of which the last of a name counts; a part with a file name is an empty object. Rejects
 * when the body is not what its boundary says. Node's own Response.formData() reads other bodies on each Node line.
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
