import { type Chunks, DumpError, jsonRow, maxRowBytes, type Row } from './row.ts'

/**
 * The objects of one JSON array, as written by Django's `dumpdata`, of any length: memory holds one object and one chunk.
 *
 * This finds the bounds of each object, and JSON.parse parses it. The streaming libraries lack what an operator needs:
 * stream-json 3.8 does not report the position of an error, @streamparser/json 0.0.26 does, but neither bounds a string that is
 * never closed. They take 12 µs of CPU per user, this takes 7 (bench/results.md).
 *
 * Throws DumpError if the brackets and commas between objects are not those of an array, or an object is not JSON: after
 * that the start of the next one is unknown.
 */
export async function* readArray(chunks: Chunks): AsyncGenerator<Row> {
  const scanner = new Scanner()
  for await (const chunk of chunks) yield* scanner.feed(chunk)
  scanner.end()
}

/** The state of the scanner: inside an object, or what may come next. */
type Place = 'array' | 'object or end' | 'object' | 'inside' | 'comma or end' | 'nothing more'

const code = (sign: string): number => sign.charCodeAt(0)
const [newline, quote, backslash, comma] = [code('\n'), code('"'), code('\\'), code(',')]
const [openArray, closeArray, openObject, closeObject] = [code('['), code(']'), code('{'), code('}')]
const whiteSpace: readonly number[] = [...' \t\r\n'].map(code)

/** The next state after a byte between objects; undefined if the byte is not allowed. */
function step(place: Place, byte: number): Place | undefined {
  if (whiteSpace.includes(byte)) return place
  if (place === 'array') return byte === openArray ? 'object or end' : undefined
  if (byte === openObject && (place === 'object' || place === 'object or end')) return 'inside'
  if (byte === comma && place === 'comma or end') return 'object'
  if (byte === closeArray && place.endsWith('or end')) return 'nothing more'
  return undefined
}

class Scanner {
  #place: Place = 'array'
  #depth = 0
  #isText = false
  #isEscaped = false
  /** The number of bytes before this chunk, and the current line. */
  #before = 0
  #line = 1
  /** The current object: where it began, and its bytes from earlier chunks. */
  #beganLine = 1
  #beganByte = 0
  #held: Buffer[] = []
  #heldBytes = 0

  /** Throws DumpError when the array has not ended. */
  end(): void {
    if (this.#place === 'inside') throw this.#brokenObject('does not end.')
    if (this.#place !== 'nothing more')
      throw broken(this.#before, this.#line, `expected ${descriptions[this.#place]}, got the end of the file.`)
  }

  /** The objects that end within the next bytes. */
  *feed(chunk: Buffer): Generator<Row> {
    let from = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] as number
      if (this.#place !== 'inside') {
        if (this.#stepTo(byte, at) === 'inside') from = at
      } else if (this.#walk(byte)) {
        yield this.#finish(chunk.subarray(from, at + 1))
        this.#place = 'comma or end'
      }
      if (byte === newline) this.#line++
    }
    if (this.#place === 'inside') this.#hold(chunk.subarray(from))
    this.#before += chunk.length
  }

  /** Moves over one byte between objects, to the place that it leads to. */
  #stepTo(byte: number, at: number): Place {
    const next = step(this.#place, byte)
    if (next === undefined) throw broken(this.#before + at, this.#line, `expected ${descriptions[this.#place]}.`)
    if (next === 'inside') {
      this.#depth = 1
      this.#beganLine = this.#line
      this.#beganByte = this.#before + at
    }
    this.#place = next
    return next
  }

  /** Moves over one byte inside an object; true at its last one. */
  #walk(byte: number): boolean {
    if (this.#isText) {
      if (this.#isEscaped) this.#isEscaped = false
      else if (byte === backslash) this.#isEscaped = true
      else if (byte === quote) this.#isText = false
      return false
    }
    if (byte === quote) this.#isText = true
    else if (byte === openObject || byte === openArray) this.#depth++
    else if (byte === closeObject || byte === closeArray) this.#depth--
    return this.#depth === 0
  }

  #finish(last: Buffer): Row {
    const bytes = this.#held.length === 0 ? last : Buffer.concat([...this.#held, last])
    this.#held = []
    this.#heldBytes = 0
    const row = jsonRow(this.#beganLine, bytes)
    if (row.fault === 'is not JSON') throw this.#brokenObject('is not JSON.')
    return row
  }

  #hold(bytes: Buffer): void {
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
    if (this.#heldBytes > maxRowBytes) throw this.#brokenObject(`does not end within ${maxRowBytes} bytes.`)
  }

  #brokenObject(reason: string): DumpError {
    return broken(this.#beganByte, this.#beganLine, `the object that begins there ${reason}`)
  }
}

const broken = (byte: number, line: number, reason: string): DumpError =>
  new DumpError(`Invalid at byte ${byte + 1}, line ${line}: ${reason}`)

const descriptions: Readonly<Record<Place, string>> = {
  array: 'an array',
  'object or end': 'an object or the end of the array',
  object: 'an object',
  inside: 'the rest of an object',
  'comma or end': 'a comma or the end of the array',
  'nothing more': 'nothing after the array'
}
