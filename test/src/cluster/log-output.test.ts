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
  destination.room = 100
  output.finish()
  t.equal(destination.text, 'late\n')
})
