import { readArray } from './array.ts'
import { type HeaderFault, readCsv } from './csv.ts'
import { readLines } from './lines.ts'
import { type Chunks, DumpError, type Row } from './row.ts'

/** The forms a dump can have: one JSON array, a JSON value a line, CSV with a header. */
export const dumpFormats = ['json', 'ndjson', 'csv'] as const
export type DumpFormat = (typeof dumpFormats)[number]

/**
 * The rows of a dump, one after the other; without a `format` the first sign tells it. Throws DumpError when it cannot be read
 * any further, and whatever `chunks` throws.
 */
export async function* readDump(
  chunks: Chunks,
  { format, headerFault }: { readonly format: DumpFormat | undefined; readonly headerFault: HeaderFault }
): AsyncGenerator<Row> {
  const rest = chunks[Symbol.asyncIterator]()
  const head = await readHead(rest)
  if (head === undefined) throw new DumpError('It is empty.')
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

/** As much as is needed to see the first sign that is not blank, without a byte order mark; undefined when there is none. */
async function readHead(chunks: AsyncIterator<Buffer>): Promise<Buffer | undefined> {
  let head = Buffer.alloc(0)
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    head = Buffer.concat([head, next.value])
    // Four bytes tell every mark from a sign. White space without end is as good as nothing.
    if (head.length >= 4 && (firstSign(head) !== undefined || head.length > 65_536)) break
  }
  refuseForeign(head)
  return firstSign(head) === undefined ? undefined : withoutMark(head)
}

const isMarked = (head: Buffer): boolean => head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf
const withoutMark = (head: Buffer): Buffer => (isMarked(head) ? head.subarray(3) : head)
const firstSign = (head: Buffer): string | undefined => /\S/.exec(withoutMark(head).toString('latin1'))?.[0]

/** What is often handed over by mistake is named, rather than taken for a CSV of one strange column. */
function refuseForeign(head: Buffer): void {
  if ((head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff))
    throw new DumpError('It is UTF-16, as > writes in PowerShell, and UTF-8 is expected: use dumpdata --output FILE.')
  if (head[0] === 0x1f && head[1] === 0x8b)
    throw new DumpError('It is compressed: gunzip -c FILE | keyturn users import - reads it.')
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
