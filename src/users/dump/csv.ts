import { type Chunks, DumpError, decodeText, maxRowBytes, type Row } from './row.ts'

/** Why a header is invalid, in one sentence; undefined if it is valid. */
export type HeaderFault = (names: readonly string[]) => string | undefined

/**
 * CSV (RFC 4180) with a header: each row becomes an object of strings by the names in the header. A row with a wrong number of
 * fields is a row with a fault. Throws DumpError for a quote that is misplaced or never closed, and for an invalid header.
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
  /** The line on which the row ends. */
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
    max_record_size: maxRowBytes,
    // Reading from the stream would lose the records before an error.
    on_record(record, { lines }) {
      found.push({ fields: record as unknown as readonly Buffer[], line: lines })
      return null
    }
  })
  parser.on('error', () => {}) // also passed to `write` and `end`
  async function* step(work: (done: (fault?: unknown) => void) => void): AsyncGenerator<CsvRecord> {
    const fault = await new Promise((resolve) => work(resolve))
    yield* found.splice(0)
    if (fault !== undefined && fault !== null) throw toDumpError(fault as CsvFault)
  }
  for await (const chunk of chunks) yield* step((done) => parser.write(chunk, done))
  yield* step((done) => parser.end(done))
}

/** Our messages for csv-parse's errors, since its own quote the row. */
interface CsvFault {
  readonly code: string
  readonly lines: number
}

const toDumpError = ({ code, lines }: CsvFault): DumpError =>
  new DumpError(`Invalid on line ${lines}: ${messages[code] ?? code}.`)

const messages: Readonly<Record<string, string>> = {
  CSV_MAX_RECORD_SIZE: `a row does not end within ${maxRowBytes} bytes`,
  CSV_QUOTE_NOT_CLOSED: 'a quote is never closed',
  CSV_INVALID_CLOSING_QUOTE: 'a closing quote must be followed by a comma or the end of the line',
  INVALID_OPENING_QUOTE: 'a field that does not begin with a quote contains one'
}
