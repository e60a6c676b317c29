import { type Chunks, jsonRow, maxRowBytes, type Row } from './row.ts'

const newline = 0x0a

/**
 * One JSON value per line (NDJSON, JSON Lines), as written by `users export` and Django's `dumpdata --format jsonl`. Empty lines
 * are skipped. A malformed line is a row with a fault; reading continues with the next one. node:readline is not used, since it
 * also ends a line at U+2028, which JSON may contain.
 */
export async function* readLines(chunks: Chunks): AsyncGenerator<Row> {
  let line = 1
  let held: Buffer[] = []
  let heldBytes = 0

  const hold = (bytes: Buffer): void => {
    heldBytes += bytes.length
    if (heldBytes > maxRowBytes) held = []
    else held.push(bytes)
  }
  const finish = (): Row | undefined => {
    const row = heldBytes > maxRowBytes ? { line, fault: `is longer than ${maxRowBytes} bytes` } : parse(line, held)
    line++
    held = []
    heldBytes = 0
    return row
  }

  for await (const chunk of chunks) {
    let from = 0
    for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, from)) {
      hold(chunk.subarray(from, at))
      from = at + 1
      const row = finish()
      if (row !== undefined) yield row
    }
    hold(chunk.subarray(from))
  }
  const last = finish()
  if (last !== undefined) yield last
}

function parse(line: number, pieces: readonly Buffer[]): Row | undefined {
  const [only, ...more] = pieces
  const bytes = more.length === 0 ? (only ?? Buffer.alloc(0)) : Buffer.concat(pieces)
  return bytes.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)) ? undefined : jsonRow(line, bytes)
}
