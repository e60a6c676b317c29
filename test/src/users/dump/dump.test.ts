/* A dump in each of its forms, in chunks of any size, whole and broken. */
import { deepStrictEqual as deepEqual, equal } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { readArray } from '../../../../src/users/dump/array.ts'
import { readLines } from '../../../../src/users/dump/lines.ts'
import { type DumpFormat, readDump } from '../../../../src/users/dump/read.ts'
import { type Chunks, maxRowBytes, type Row } from '../../../../src/users/dump/row.ts'
import { aDump } from '../../../support/dump.ts'

/** `bytes` in chunks of the sizes given, over and over. */
async function* inChunks(bytes: Buffer | string, ...sizes: readonly number[]): Chunks {
  const whole = Buffer.from(bytes)
  for (let [at, turn] = [0, 0]; at < whole.length; turn++) {
    const size = sizes[turn % sizes.length] ?? whole.length
    yield whole.subarray(at, at + size)
    at += size
  }
}

async function collect(rows: AsyncIterable<Row>): Promise<readonly Row[]> {
  const all: Row[] = []
  for await (const row of rows) all.push(row)
  return all
}

const read = (bytes: Buffer | string, format?: DumpFormat, ...sizes: readonly number[]): Promise<readonly Row[]> =>
  collect(readDump(inChunks(bytes, ...sizes), { format, headerFault: () => undefined }))

/** What was read before it broke off, and why it did. */
async function readBroken(
  bytes: Buffer | string,
  format?: DumpFormat,
  ...sizes: readonly number[]
): Promise<{ readonly rows: number; readonly message: string }> {
  let rows = 0
  try {
    for await (const _ of readDump(inChunks(bytes, ...sizes), { format, headerFault: () => undefined })) rows++
  } catch (error) {
    if ((error as Error).name !== 'DumpError') throw error
    return { rows, message: (error as Error).message }
  }
  throw new Error('it was read to its end')
}

const readingOf = (row: Row): unknown => row.fault ?? row.value

const anObject = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue())
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })

t.test('an array is read as JSON.parse reads it, however it is cut', async (t) => {
  const indents = fc.constantFrom(undefined, 1, '\r\n\t')
  await fc.assert(
    fc.asyncProperty(fc.array(anObject), indents, sizes, async (objects, indent, sizes) => {
      const text = JSON.stringify(objects, undefined, indent)
      const rows = await collect(readArray(inChunks(text, ...sizes)))
      deepEqual(rows.map(readingOf), JSON.parse(text))
    })
  )
  t.pass('100 of them')
})

t.test('an array that JSON.parse refuses is refused', async (t) => {
  const spoilt = fc
    .tuple(fc.array(anObject, { minLength: 1 }), fc.nat(), fc.constantFrom(...'[]{}",:\\x1 '))
    .map(([objects, place, sign]) => {
      const signs = [...JSON.stringify(objects)]
      return signs.with(place % signs.length, sign).join('')
    })
  await fc.assert(
    fc.asyncProperty(spoilt, sizes, async (text, sizes) => {
      const rows = await collect(readArray(inChunks(text, ...sizes))).catch((error) => {
        equal(error.name, 'DumpError')
      })
      deepEqual(rows?.map(readingOf), parseObjects(text))
    }),
    { numRuns: 500 }
  )
  t.pass('500 of them')
})

/** An array of objects; undefined when the text is anything else. */
function parseObjects(text: string): readonly unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text)
    const isObject = (each: unknown) => typeof each === 'object' && each !== null && !Array.isArray(each)
    return Array.isArray(value) && value.every(isObject) ? value : undefined
  } catch {
    return undefined
  }
}

t.test('lines are read as JSON.parse reads each, however they are cut', async (t) => {
  const ends = fc.constantFrom('\n', '\r\n', '\n\n')
  await fc.assert(
    fc.asyncProperty(fc.array(anObject), ends, sizes, async (objects, end, sizes) => {
      const lines = objects.map((object) => JSON.stringify(object))
      const rows = await collect(readLines(inChunks(lines.join(end), ...sizes)))
      deepEqual(
        rows.map(readingOf),
        lines.map((line) => JSON.parse(line))
      )
      const each = end === '\n\n' ? 2 : 1
      deepEqual(
        rows.map(({ line }) => line),
        lines.map((_, index) => index * each + 1)
      )
    })
  )
  t.pass('100 of them')
})

t.test('the format is seen from the first sign', async (t) => {
  const value = { a: 'ä' }
  const forms: readonly (readonly [format: DumpFormat, text: string])[] = [
    ['json', `[${JSON.stringify(value)}]`],
    ['ndjson', JSON.stringify(value)],
    ['csv', 'a\nä\n']
  ]
  for (const [format, text] of forms) {
    for (const before of ['', '\ufeff', '\n  ', `\ufeff${' '.repeat(100)}`]) {
      if (format === 'csv' && before.endsWith(' ')) continue
      for (const size of [1, 2, 5, 1000]) {
        const [row, ...others] = await read(before + text, undefined, size)
        t.match([row, others], [{ value }, []], `${format} after ${JSON.stringify(before)} by ${size}`)
      }
    }
    t.match(await read(text, format), [{ value }])
  }
})

t.test('a file that is not a dump is identified', async (t) => {
  for (const empty of ['', ' \n', '\ufeff', ' '.repeat(100_000)])
    t.match(await readBroken(empty), { message: 'The file is empty.' })
  t.match(await readBroken(Buffer.from('\ufeff[]', 'utf16le')), { message: /UTF-16.*dumpdata --output/ })
  t.match(await readBroken(Buffer.from([0x1f, 0x8b, 8, 0, 0, 0]), undefined, 1), { message: /compressed: use gunzip/ })
})

t.test('a row is reported with its line', async (t) => {
  const rows = await read('[\n  {"a": 1}, {"a":\n 2},\n\n{"a": 3}]\n')
  t.same(rows, [
    { line: 2, value: { a: 1 } },
    { line: 2, value: { a: 2 } },
    { line: 5, value: { a: 3 } }
  ])
  t.same(await read('{"a": 1}\r\n\n \n{"a": 2}'), [
    { line: 1, value: { a: 1 } },
    { line: 4, value: { a: 2 } }
  ])
  t.same(await read('a,b\r\n1,"x, ""y"""\r\n\r\n2,"x\ny"\r\n3,'), [
    { line: 2, value: { a: '1', b: 'x, "y"' } },
    { line: 5, value: { a: '2', b: 'x\ny' } },
    { line: 6, value: { a: '3', b: '' } }
  ])
})

t.test('an array that is broken stops at its place, in our words', async (t) => {
  const rows: readonly (readonly [text: string, rows: number, message: RegExp])[] = [
    ['[{"a": 1}, {"a": 2', 1, /at byte 12, line 1: .*does not end\./],
    ['[{"a": 1}', 1, /at byte 10, .*expected a comma or the end of the array, got the end of the file/],
    ['[{"a": 1},', 1, /at byte 11, .*expected an object, got the end/],
    ['[{"a": 1},]', 1, /at byte 11, .*expected an object\./],
    ['[{"a": 1}{"a": 2}]', 1, /at byte 10, .*expected a comma/],
    ['[{"a": 1}]\n[]', 1, /at byte 12, line 2: expected nothing after the array/],
    ['[\n1]', 0, /at byte 3, line 2: expected an object or the end/],
    ['[{"a": 1},\n{"a": secret}]', 1, /at byte 12, line 2: .*is not JSON\./],
    ['[{"a": ]]', 0, /is not JSON/],
    ['[{a: "secret"}]', 0, /is not JSON/],
    ['[', 0, /expected an object or the end of the array, got the end/]
  ]
  for (const [text, count, message] of rows)
    for (const size of [1, 3, 1000]) {
      const broken = await readBroken(text, 'json', size)
      t.match(broken, { rows: count, message }, `${text} by ${size}`)
      t.notMatch(broken.message, /secret/)
    }
  t.match(await readBroken('{"a": 1}', 'json'), { message: /at byte 1, line 1: expected an array\./ })
})

t.test('a line that is broken is one row', async (t) => {
  const latin1 = Buffer.concat([Buffer.from('{"a": "'), Buffer.from([0xe4]), Buffer.from('"}')])
  const bytes = Buffer.concat([Buffer.from('{"a": \n{"a": 1}\nsecret\n'), latin1, Buffer.from('\n{"a": 2')])
  t.same(await read(bytes, 'ndjson', 3), [
    { line: 1, fault: 'is not JSON' },
    { line: 2, value: { a: 1 } },
    { line: 3, fault: 'is not JSON' },
    { line: 4, fault: 'is not UTF-8' },
    { line: 5, fault: 'is not JSON' }
  ])
  t.same(await read(Buffer.concat([Buffer.from('['), latin1, Buffer.from(', {"a": 1}]')])), [
    { line: 1, fault: 'is not UTF-8' },
    { line: 1, value: { a: 1 } }
  ])
})

t.test('CSV that is broken', async (t) => {
  t.same(await read('a,b\n1\n1,2,3\n1,2'), [
    { line: 2, fault: 'has 1 fields where the header has 2' },
    { line: 3, fault: 'has 3 fields where the header has 2' },
    { line: 4, value: { a: '1', b: '2' } }
  ])
  const latin1 = Buffer.concat([Buffer.from('a\nx'), Buffer.from([0xe4]), Buffer.from('\ny')])
  t.same(await read(latin1), [
    { line: 2, fault: 'is not UTF-8' },
    { line: 3, value: { a: 'y' } }
  ])
  const broken = async (text: string) => await readBroken(text, 'csv')
  t.match(await broken('a,b\n1,2\n1,"secret\n3,4\n'), { rows: 1, message: /on line \d: a quote is never closed\.$/ })
  t.match(await broken('a,b\n1,2\n1,"secret"x\n'), { rows: 1, message: /on line 3: a closing quote must be followed/ })
  t.match(await broken('a,b\n1,2\n1,secret"x\n'), {
    rows: 1,
    message: /on line 3: a field that does not begin with a quote/
  })
  const refusing = readDump(inChunks('x,y\n1,2'), { format: 'csv', headerFault: (names) => `No: ${names}.` })
  await t.rejects(collect(refusing), { name: 'DumpError', message: 'No: x,y.' })
})

t.test('what never ends does not fill the memory', async (t) => {
  const endless = 'x'.repeat(3 * maxRowBytes)
  t.match(await readBroken(`[{"a": 1}, {"a": "${endless}"}]`, 'json', 65_536), {
    rows: 1,
    message: /byte 12, .*within 1048576 bytes/
  })
  t.match(await readBroken(`a\n1\n"${endless}`, 'csv', 65_536), { rows: 1, message: /a row does not end within/ })
  t.same(await read(`{"a": 1}\n"${endless}"\n{"a": 2}`, 'ndjson', 65_536), [
    { line: 1, value: { a: 1 } },
    { line: 2, fault: 'is longer than 1048576 bytes' },
    { line: 3, value: { a: 2 } }
  ])
  const nested = await read(`${'{"a": '.repeat(10_000)}1${'}'.repeat(10_000)}`, 'ndjson')
  t.equal(nested.length, 1, 'and what is deep does not break the stack')
})

t.test('a source that fails fails the reading', async (t) => {
  const failing = async function* (first: string): Chunks {
    yield Buffer.from(first)
    throw new Error('the disk is gone')
  }
  for (const [format, text] of [
    ['json', aDump(2).slice(0, -1)],
    ['ndjson', '{"a": 1}\n'],
    ['csv', 'a\n1\n']
  ] as const) {
    const rows = readDump(failing(text), { format, headerFault: () => undefined })
    await t.rejects(collect(rows), { message: 'the disk is gone' }, format)
  }
})
