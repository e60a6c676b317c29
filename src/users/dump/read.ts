import { readArray } from './array.ts'
import { type HeaderFault, readCsv } from './csv.ts'
import { readLines } from './lines.ts'
import { type Chunks, DumpError, type Row } from './row.ts'

/** The formats of a dump: one JSON array, one JSON value per line, or CSV with a header. */
export const dumpFormats = ['json', 'ndjson', 'csv'] as const
export type DumpFormat = (typeof dumpFormats)[number]

/**
 * The rows of a dump; without `format`, the first character decides. Throws DumpError if it cannot be read any further, and the
 * errors of `chunks`.
 */
export async function* readDump(
  chunks: Chunks,
  { format, headerFault }: { readonly format: DumpFormat | undefined; readonly headerFault: HeaderFault }
): AsyncGenerator<Row> {
  const rest = chunks[Symbol.asyncIterator]()
  const head = await readHead(rest)
  if (head === undefined) throw new DumpError('The file is empty.')
  const whole = concat(head, rest)
  switch (format ?? detectFormat(head)) {
    case 'json':
      return yield* readArray(whole)
    case 'ndjson':
      return yield* readLines(whole)
    case 'csv':
      return yield* readCsv(whole, headerFault)
  }
}

/** The beginning up to the first character that is not white space, without a byte order mark; undefined if there is none. */
async function readHead(chunks: AsyncIterator<Buffer>): Promise<Buffer | undefined> {
  let head = Buffer.alloc(0)
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    head = Buffer.concat([head, next.value])
    // Four bytes identify every byte order mark. Endless white space counts as an empty file.
    if (head.length >= 4 && (firstSign(head) !== undefined || head.length > 65_536)) break
  }
  refuseForeign(head)
  return firstSign(head) === undefined ? undefined : withoutMark(head)
}

const isMarked = (head: Buffer): boolean => head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf
const withoutMark = (head: Buffer): Buffer => (isMarked(head) ? head.subarray(3) : head)
const firstSign = (head: Buffer): string | undefined => /\S/.exec(withoutMark(head).toString('latin1'))?.[0]

/** Common mistakes are identified, rather than parsed as CSV with one strange column. */
function refuseForeign(head: Buffer): void {
  if ((head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff))
    throw new DumpError(
      'The file is in UTF-16, as written by > in PowerShell, expected UTF-8: use dumpdata --output FILE.'
    )
  if (head[0] === 0x1f && head[1] === 0x8b)
    throw new DumpError('The file is compressed: use gunzip -c FILE | keyturn users import -.')
}

function detectFormat(head: Buffer): DumpFormat {
  const sign = firstSign(head)
  if (sign === '[') return 'json'
  return sign === '{' ? 'ndjson' : 'csv'
}

async function* concat(head: Buffer, rest: AsyncIterator<Buffer>): Chunks & AsyncGenerator<Buffer> {
  yield head
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value
}
