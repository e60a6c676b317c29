import { type Chunks, DumpError, decodeText, longestRow, type Row } from './row.ts'

/** Why a header will not do, as a plain sentence; undefined when it will. */
export type HeaderFault = (names: readonly string[]) => string | undefined

/**
 * CSV as RFC 4180 has it, with a header: each row an object of texts by the header's names. A row with a wrong number of
 * fields is a row with a fault. Throws DumpError where a quote is misplaced or never closed, and for a header that will not do.
 */
export async function* readCsv(chunks: Chunks, headerFault: HeaderFault): AsyncGenerator<Row> {
  let names: readonly string[] | undefined
  for await (const { fields: bytes, line } of records(chunks)) {
    const fields = bytes.map(decodeText)
    if (names !== undefined) {
      yield toRow(line, names, fields)
    } else {
      names = fields.map((name) => name ?? '')
      const fault = headerFault(names)
      if (fault !== undefined) throw new DumpError(fault)
    }
  }
}

function toRow(line: number, names: readonly string[], fields: readonly (string | undefined)[]): Row {
  if (fields.length !== names.length)
    return { line, fault: `has ${fields.length} fields where the header has ${names.length}` }
  if (fields.includes(undefined)) return { line, fault: 'is not UTF-8' }
  return { line, value: Object.fromEntries(names.map((name, place) => [name, fields[place]])) }
}

interface CsvRecord {
  readonly fields: readonly Buffer[]
  /** The one it ends on. */
  readonly line: number
}

async function* records(chunks: Chunks): AsyncGenerator<CsvRecord> {
  const { parse } = await import('csv-parse')
  const found: CsvRecord[] = []
  const parser = parse({
    // Fields are then bytes, so invalid UTF-8 can be detected.
    encoding: null,
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: longestRow,
    // Read from the stream, the records before an error would be lost with it.
    on_record(record, { lines }) {
      found.push({ fields: record as unknown as readonly Buffer[], line: lines })
      return null
    }
  })
  parser.on('error', () => {}) // it is given to `write` and `end` too
  async function* step(work: (done: (fault?: unknown) => void) => void): AsyncGenerator<CsvRecord> {
    const fault = await new Promise((resolve) => work(resolve))
    yield* found.splice(0)
    if (fault !== undefined && fault !== null) throw toDumpError(fault as CsvFault)
  }
  for await (const chunk of chunks) yield* step((done) => parser.write(chunk, done))
  yield* step((done) => parser.end(done))
}

/** Our texts for csv-parse's errors: its own would quote the row. */
interface CsvFault {
  readonly code: string
  readonly lines: number
}

const toDumpError = ({ code, lines }: CsvFault): DumpError =>
  new DumpError(`It breaks off on line ${lines}: ${words[code] ?? code}.`)

const words: Readonly<Record<string, string>> = {
  CSV_MAX_RECORD_SIZE: `a row does not end within ${longestRow} bytes`,
  CSV_QUOTE_NOT_CLOSED: 'a quote is never closed',
  CSV_INVALID_CLOSING_QUOTE: 'after a closing quote only a comma or the end of the line may come',
  INVALID_OPENING_QUOTE: 'a quote stands within a field that does not begin with one'
}
