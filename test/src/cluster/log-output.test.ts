import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { openLogOutput } from '../../../src/cluster/log-output.ts'

/** A destination that takes so many more bytes. */
function aDestination() {
  const destination = {
    room: 0,
    text: '',
    write(bytes: Buffer): number {
      if (destination.room === 0) throw new Error('ENOSPC')
      const part = bytes.subarray(0, destination.room)
      destination.room -= part.length
      destination.text += part
      return part.length
    }
  }
  return destination
}

t.test(
  'what a destination does not accept is kept, dropped beyond a megabyte, and reported when it writes again',
  async (t) => {
    const destination = aDestination()
    const output = await new Promise<ReturnType<typeof openLogOutput>>((resolve) => {
      const opened = openLogOutput({
        write: destination.write,
        onRecovered(lines) {
          t.equal(lines, 500)
          resolve(opened)
        }
      })
      destination.room = 5
      const line = `${'x'.repeat(1023)}\n`
      for (let each = 0; each < 1524; each++) opened.write(line)
      t.equal(opened.dropped(), 500)
      t.equal(destination.text, 'xxxxx')
      // The retry is unref'd: a process may end meanwhile.
      const alive = setInterval(() => {}, 1000)
      t.teardown(() => clearInterval(alive))
      destination.room = Number.POSITIVE_INFINITY
    })
    t.equal(destination.text, `${'x'.repeat(1023)}\n`.repeat(1024), 'whole lines, in their order')
    output.write('next\n')
    t.equal(output.dropped(), 500)
    t.equal(destination.text.slice(-5), 'next\n')
  }
)

t.test('an exit waits for a slow destination, but not for long', async (t) => {
  const destination = aDestination()
  const output = openLogOutput({ write: destination.write })
  output.write('late\n')
  const began = performance.now()
  output.finish()
  t.ok(performance.now() - began >= 190)
  output.write('later\n')
  destination.room = 100
  output.finish()
  t.equal(destination.text, 'later\n')
})

t.test('an exit counts the lines that it leaves behind as dropped', async (t) => {
  const destination = aDestination()
  const output = openLogOutput({ write: destination.write })
  output.write('one\ntwo\n')
  output.write('three\n')
  t.equal(output.dropped(), 0)
  output.finish()
  t.equal(output.dropped(), 3)
})

t.test('outputs that share a slow pipe never split a line of each other', async (t) => {
  const path = join(t.testdir(), 'pipe')
  execFileSync('mkfifo', [path])
  const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants
  const reader = openSync(path, O_RDONLY | O_NONBLOCK)
  const writers = ['a', 'b'].map((letter) => {
    const fd = openSync(path, O_WRONLY | O_NONBLOCK)
    t.teardown(() => closeSync(fd))
    // Of different lengths, so that the pipe is full in the middle of a line.
    const lines = `${letter.repeat(letter === 'a' ? 300 : 410)}\n`.repeat(40)
    return { lines, output: openLogOutput({ write: (bytes) => writeSync(fd, bytes) }) }
  })
  for (let each = 0; each < 10; each++) for (const { lines, output } of writers) output.write(lines)
  const expected = 2 * 10 * 40
  let text = ''
  const bytes = Buffer.alloc(5000)
  while (text.split('\n').length <= expected) {
    try {
      text += bytes.toString('latin1', 0, readSync(reader, bytes))
    } catch (error) {
      // The pipe is empty for now.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      await delay(5)
    }
  }
  closeSync(reader)
  const torn = text.split('\n').filter((line) => !/^(a{300}|b{410}|)$/.test(line))
  t.same(torn, [])
})

t.test('a line that is longer than a write to a pipe is written, and those around it too', async (t) => {
  const destination = aDestination()
  destination.room = Number.POSITIVE_INFINITY
  const text = `${'x'.repeat(4000)}\n${'y'.repeat(20_000)}\n${'z'.repeat(4095)}\n${'w'.repeat(4096)}\nlast\n`
  openLogOutput({ write: destination.write }).write(text)
  t.equal(destination.text, text)
})
