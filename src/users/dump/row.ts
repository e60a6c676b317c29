/** One entry of a dump, and the line it begins on (in CSV: ends on), from one. A fault is why its value cannot be read. */
export type Row =
  | { readonly line: number; readonly value: unknown; readonly fault?: undefined }
  | { readonly line: number; readonly fault: string; readonly value?: undefined }

/** Bytes of a dump as they come, in chunks of whatever size. */
export type Chunks = AsyncIterable<Buffer>

/** Longest entry, in bytes. It bounds the memory that a quote which is never closed can take. */
export const longestRow = 1_048_576

/** A dump that cannot be read any further. The message is one sentence; it never quotes the dump, which holds digests. */
export class DumpError extends Error {
  override readonly name = 'DumpError'
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Bytes as text; undefined when they are not UTF-8. Decoded leniently, a name would silently become another. */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes)
  } catch {
    return undefined
  }
}

/** A row out of the bytes of one JSON value. */
export function jsonRow(line: number, bytes: Buffer): Row {
  const text = decodeText(bytes)
  if (text === undefined) return { line, fault: 'is not UTF-8' }
  try {
    return { line, value: JSON.parse(text) }
  } catch {
    // The engine's own message would quote part of it.
    return { line, fault: 'is not JSON' }
  }
}
