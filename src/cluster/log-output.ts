import { constants, fstatSync, openSync, writeSync } from 'node:fs'

/** Where the lines of this process go. It never throws, and never waits for a destination that does not accept them. */
export interface LogOutput {
  /** Writes whole lines, or keeps them for later, or drops them. */
  write(lines: string): void
  /** Lines that were dropped since the process started. */
  dropped(): number
  /** At an exit: waits for a slow reader, but not for long. */
  finish(): void
}

export interface LogOutputOptions {
  /** Called after lines were dropped, once everything that was kept is written again. */
  readonly onRecovered?: (lines: number) => void
  /** Writes what it can of the bytes and returns how many. Throws when it can write none. */
  readonly write?: (bytes: Buffer) => number
}

/** What is kept for a destination that does not accept it, in bytes. */
const maxPending = 1_048_576

/** How often a destination that failed is tried again, in milliseconds. */
const retryInterval = 100

/** How long an exit waits for a slow reader, in milliseconds. */
const maxFinish = 200

/**
 * Standard output as a log's destination. A full disk, a closed pipe and a pipe that no process reads are the same to it:
 * what cannot be written is kept up to `maxPending` bytes and tried again; lines beyond that are dropped and counted.
 * Without `write` it is standard output, written to without blocking.
 */
export function openLogOutput({ onRecovered = () => {}, write = openStdout() }: LogOutputOptions = {}): LogOutput {
  let pending: Buffer[] = []
  let pendingBytes = 0
  let dropped = 0
  let reported = 0
  let retry: NodeJS.Timeout | undefined

  /** Whether everything is written. */
  const flush = (): boolean => {
    try {
      while (pending.length > 0) {
        const [first = Buffer.alloc(0), ...rest] = pending
        const written = write(first)
        pendingBytes -= written
        pending = written < first.length ? [first.subarray(written), ...rest] : rest
      }
      return true
    } catch {
      return false
    }
  }
  const tryAgain = (): void => {
    if (!flush()) return
    clearInterval(retry)
    retry = undefined
    const lines = dropped - reported
    reported = dropped
    if (lines > 0) onRecovered(lines)
  }

  return {
    write(lines) {
      const bytes = Buffer.from(lines)
      if (pendingBytes + bytes.length > maxPending) {
        dropped += lines.split('\n').length - 1
        return
      }
      pending.push(bytes)
      pendingBytes += bytes.length
      // While the destination fails it is tried by the timer only: lines cost nothing then.
      if (retry !== undefined || flush()) return
      retry = setInterval(tryAgain, retryInterval)
      retry.unref()
    },
    dropped: () => dropped,
    finish() {
      const until = performance.now() + maxFinish
      while (!flush() && performance.now() < until) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }
}

/**
 * Writes to standard output without blocking. A pipe or a terminal is opened again, since the flag O_NONBLOCK belongs to
 * all processes that share an opening: other processes reset it. A socket cannot be opened again; the stream that Node.js makes of it
 * sets the flag. A file never stalls, and another opening would have a position of its own.
 */
function openStdout(): (bytes: Buffer) => number {
  const fd = reopen() ?? sharedStdout()
  return (bytes) => writeSync(fd, bytes)
}

function reopen(): number | undefined {
  try {
    const kind = fstatSync(1)
    if (!kind.isFIFO() && !kind.isCharacterDevice()) return undefined
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants
    return openSync('/dev/fd/1', O_WRONLY | O_NONBLOCK | O_NOCTTY)
  } catch {
    // No process reads the pipe, or it belongs to another account.
    return undefined
  }
}

function sharedStdout(): number {
  process.stdout.on('error', () => {})
  return 1
}
