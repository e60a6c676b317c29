/** One entry of a dump, and the line on which it begins (in CSV: ends), from one. A fault is the reason why it is invalid. */
export type Row =
  | { readonly line: number; readonly value: unknown; readonly fault?: undefined }
  | { readonly line: number; readonly fault: string; readonly value?: undefined }

/** The bytes of a dump, in chunks of any size. */
export type Chunks = AsyncIterable<Buffer>

/** Maximum size of an entry in bytes, which bounds the memory for a quote that is never closed. */
export const maxRowBytes = 1_048_576

/** A dump that cannot be read any further. The message is one sentence that never quotes the dump, which contains digests. */
export class DumpError extends Error {
  override readonly name = 'DumpError'
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Decodes bytes; undefined if they are not UTF-8. Lenient decoding would silently change a name. */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes)
  } catch {
    return undefined
  }
}

/** A row from the bytes of one JSON value. */
export function jsonRow(line: number, bytes: Buffer): Row {
  const text = decodeText(bytes)
  if (text === undefined) return { line, fault: 'is not UTF-8' }
  try {
    return { line, value: JSON.parse(text) }
  } catch {
    // The engine's own message would quote part of the row.
    return { line, fault: 'is not JSON' }
  }
}
