import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { isReadableByAll, readUtf8 } from '../../../src/config/text-file.ts'

function aPipe(t: Test): string {
  const path = join(t.testdir(), 'pipe')
  execFileSync('mkfifo', [path])
  return path
}

const refusal = (reason: string) => ({ message: `expected a file that can be read (${reason})` })

t.test('a pipe without a writer is refused after a while, as is one that does not end', async (t) => {
  const path = aPipe(t)
  t.throws(() => readUtf8(path, 100), refusal('a pipe that delivers nothing within 0.1 s'))
  // A reader of its own, so that the writer need not wait for one.
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = openSync(path, 'w')
  t.throws(
    () => readUtf8(path, 100),
    refusal('a pipe that delivers nothing within 0.1 s'),
    'a writer that writes nothing'
  )
  writeSync(writer, 'PORT=81')
  t.throws(() => readUtf8(path, 100), refusal('a pipe that does not end within 0.1 s'))
  closeSync(writer)
  closeSync(reader)
})

t.test('a pipe is read to its end, once', async (t) => {
  const path = aPipe(t)
  const writer = spawn('sh', ['-c', '(printf PO; printf RT=; printf 81) > "$0"', path])
  t.equal(readUtf8(path), 'PORT=81', 'also if its writer comes later')
  await once(writer, 'exit')
  t.equal(readUtf8(path, 0), 'PORT=81', 'and its text is kept, since it cannot be read again')
})

t.test('a pipe that delivers too much is refused', async (t) => {
  const path = aPipe(t)
  const writer = spawn('sh', ['-c', 'yes > "$0"', path], { stdio: 'ignore' })
  t.throws(() => readUtf8(path), refusal('a pipe that delivers more than 1048576 bytes'))
  await once(writer, 'exit')
})

t.test('a device is refused, except the one that stands for nothing', async (t) => {
  t.equal(readUtf8('/dev/null'), '')
  for (const device of ['/dev/zero', '/dev/tty']) t.throws(() => readUtf8(device), /expected a file that can be read/)
  t.throws(() => readUtf8(t.testdir()), refusal('EISDIR'))
})

t.test('files that all processes read the same from', async (t) => {
  const folder = t.testdir({ env: 'PORT=81' })
  for (const file of [join(folder, 'env'), folder, join(folder, 'none'), '/dev/null', 'a\u0000b'])
    t.equal(isReadableByAll(file), true, JSON.stringify(file))
  for (const file of ['/dev/stdin', '/dev/fd/63', '/proc/self/fd/0', '/proc/42/task/42/fd/3', '/dev/zero'])
    t.equal(isReadableByAll(file), false, file)
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  t.equal(isReadableByAll(pipe), false)
})
