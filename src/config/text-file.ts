import { closeSync, constants, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs'

/** How long a pipe may take to deliver its text, in milliseconds. */
const patience = 10_000

/** The most bytes that a pipe may deliver. */
const maxDelivered = 1_048_576

/** How often a pipe that has nothing yet is read, in milliseconds. */
const interval = 20

/** What pipes have delivered, by path: it cannot be read a second time. */
const delivered = new Map<string, Buffer>()

/**
 * The text of a file in UTF-8, without its byte order mark. A pipe, such as `<(…)` in a shell, is waited for `patienceMs`, and read
 * once in a process. Throws an Error whose message says what was expected.
 */
export function readUtf8(file: string, patienceMs = patience): string {
  let bytes: Buffer
  try {
    bytes = readBytes(file, patienceMs)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new Error(`expected a file that can be read (${code ?? message})`)
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    if (!text.includes('\0')) return text
  } catch {}
  throw new Error('expected a text file in UTF-8 (this one may be in UTF-16)')
}

function readBytes(file: string, patienceMs: number): Buffer {
  const known = delivered.get(file)
  if (known !== undefined) return known
  // Otherwise, a FIFO without a writer would block the process.
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  try {
    const stats = fstatSync(descriptor)
    if (stats.isFIFO()) {
      const bytes = readPipe(descriptor, patienceMs)
      delivered.set(file, bytes)
      return bytes
    }
    // A device may never end.
    if (stats.isCharacterDevice() && file !== nothing) throw new Error('a device')
    return readFileSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Reads until the last writer has closed the pipe. Without a writer it is empty, as it is before the first one has opened it. */
function readPipe(descriptor: number, patienceMs: number): Buffer {
  const deadline = performance.now() + patienceMs
  const chunk = Buffer.alloc(65_536)
  const chunks: Buffer[] = []
  let size = 0
  while (size <= maxDelivered) {
    const length = readAvailable(descriptor, chunk)
    if (length === 0 && size > 0) return Buffer.concat(chunks)
    if (length > 0) {
      chunks.push(Buffer.from(chunk.subarray(0, length)))
      size += length
    } else if (performance.now() < deadline) sleep(interval)
    else
      throw new Error(`a pipe that ${size === 0 ? 'delivers nothing' : 'does not end'} within ${patienceMs / 1000} s`)
  }
  throw new Error(`a pipe that delivers more than ${maxDelivered} bytes`)
}

/** The number of bytes that were read: 0 at the end, -1 if there are none yet. */
function readAvailable(descriptor: number, chunk: Buffer): number {
  try {
    return readSync(descriptor, chunk)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return -1
    throw error
  }
}

const sleep = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

/** The device that stands for an empty file. */
const nothing = '/dev/null'

/** Descriptors of one process, which its child processes do not have, or have for another file. */
const ofProcess = /^\/(dev\/(std(in|out|err)$|fd\/)|proc\/(self|thread-self|\d+)\/(task\/\d+\/)?fd\/)/

/** Whether each of several processes reads the same from this file, whenever it does. True for a file that none can read. */
export function isReadableByAll(file: string): boolean {
  if (ofProcess.test(file)) return false
  try {
    const stats = statSync(file)
    return file === nothing || !(stats.isFIFO() || stats.isCharacterDevice())
  } catch {
    return true
  }
}
