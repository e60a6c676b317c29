import { type Chunks, DumpError, jsonRow, longestRow, type Row } from './row.ts'

/**
 * The objects in one JSON array, as Django's `dumpdata` writes it, however long that is: memory holds one object and one chunk.
 *
 * This finds where each object begins and ends, and JSON.parse reads it. The libraries that read a stream lack what an
 * operator needs: stream-json 3.8 cannot say where something is broken, @streamparser/json 0.0.26 can, but neither bounds a
 * text that is never closed. They take 12 µs of CPU for a user, this takes 7 (bench/results.md).
 *
 * Throws DumpError where the brackets and commas between objects are not those of an array, or an object is not JSON: after
 * that the start of the next one is unknown.
 */
export async function* readArray(chunks: Chunks): AsyncGenerator<Row> {
  const scanner = makeScanner()
  for await (const chunk of chunks) yield* scanner.feed(chunk)
  scanner.end()
}

/** Where the scanner is: within an object, or what may come next. */
type Place = 'array' | 'object or end' | 'object' | 'inside' | 'comma or end' | 'nothing more'

const code = (sign: string): number => sign.charCodeAt(0)
const [newline, quote, backslash, comma] = [code('\n'), code('"'), code('\\'), code(',')]
const [openArray, closeArray, openObject, closeObject] = [code('['), code(']'), code('{'), code('}')]
const blanks: readonly number[] = [...' \t\r\n'].map(code)

/** Which place a byte between objects leads to; undefined when it may not stand there. */
function step(place: Place, byte: number): Place | undefined {
  if (blanks.includes(byte)) return place
  if (place === 'array') return byte === openArray ? 'object or end' : undefined
  if (byte === openObject && (place === 'object' || place === 'object or end')) return 'inside'
  if (byte === comma && place === 'comma or end') return 'object'
  if (byte === closeArray && place.endsWith('or end')) return 'nothing more'
  return undefined
}

function makeScanner() {
  let place: Place = 'array'
  let [depth, isText, isEscaped] = [0, false, false]
  /** How many bytes came before this chunk, and the line that is being read. */
  let [before, line] = [0, 1]
  /** The object that is being read: where it began, and its bytes out of earlier chunks. */
  let [beganLine, beganByte] = [1, 0]
  let held: Buffer[] = []
  let heldBytes = 0

  const broken = (byte: number, atLine: number, words: string) =>
    new DumpError(`It breaks off at byte ${byte + 1}, on line ${atLine}: ${words}`)

  /** Walks over one byte inside an object; true at its last one. */
  function walk(byte: number): boolean {
    if (isText) {
      if (isEscaped) isEscaped = false
      else if (byte === backslash) isEscaped = true
      else if (byte === quote) isText = false
      return false
    }
    if (byte === quote) isText = true
    else if (byte === openObject || byte === openArray) depth++
    else if (byte === closeObject || byte === closeArray) depth--
    return depth === 0
  }

  function finish(last: Buffer): Row {
    const bytes = held.length === 0 ? last : Buffer.concat([...held, last])
    held = []
    heldBytes = 0
    const row = jsonRow(beganLine, bytes)
    if (row.fault === 'is not JSON') throw broken(beganByte, beganLine, 'the object that begins there is not JSON.')
    return row
  }

  function hold(bytes: Buffer): void {
    held.push(bytes)
    heldBytes += bytes.length
    if (heldBytes > longestRow)
      throw broken(beganByte, beganLine, `the object that begins there does not end within ${longestRow} bytes.`)
  }

  return {
    /** The objects that end within the next bytes. */
    *feed(chunk: Buffer): Generator<Row> {
      let from = 0
      for (let at = 0; at < chunk.length; at++) {
        const byte = chunk[at] as number
        if (place === 'inside') {
          if (walk(byte)) {
            yield finish(chunk.subarray(from, at + 1))
            place = 'comma or end'
          }
        } else {
          const next = step(place, byte)
          if (next === undefined) throw broken(before + at, line, `expected ${words[place]}.`)
          if (next === 'inside') [from, depth, beganLine, beganByte] = [at, 1, line, before + at]
          place = next
        }
        if (byte === newline) line++
      }
      if (place === 'inside') hold(chunk.subarray(from))
      before += chunk.length
    },
    /** Throws DumpError when the array has not ended. */
    end(): void {
      if (place === 'inside') throw broken(beganByte, beganLine, 'the object that begins there does not end.')
      if (place !== 'nothing more') throw broken(before, line, `expected ${words[place]}, and there is nothing more.`)
    }
  }
}

const words: Readonly<Record<Place, string>> = {
  array: 'an array',
  'object or end': 'an object or the end of the array',
  object: 'an object',
  inside: 'the rest of an object',
  'comma or end': 'a comma or the end of the array',
  'nothing more': 'nothing after the array'
}
