import { constants, fstatSync, openSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'

/** The destination of this process's log lines. Never throws, and never waits for a destination that does not accept them. */
export interface LogOutput {
  /** Writes whole lines, or keeps them for later, or drops them. */
  write(lines: string): void
  /** Lines that were dropped since the process started. */
  dropped(): number
  /** At an exit: waits for a slow reader, but not for long, and counts what is left as dropped. */
  finish(): void
}

export interface LogOutputOptions {
  /** Called after lines were dropped, once everything that was kept has been written. */
  readonly onRecovered?: (lines: number) => void
  /** Writes what it can of the bytes and returns how many. Throws when it can write none. */
  readonly write?: (bytes: Buffer) => number
}

/** How many bytes are kept for a destination that does not accept them. */
const maxPending = 1_048_576

/** The longest write to a pipe that is never split, by PIPE_BUF of Linux, in bytes. Lines of other processes come before or after it. */
const maxWrite = 4096

/** How often a destination that failed is tried again, in milliseconds. */
const retryInterval = 100

/** How long an exit waits for a slow reader, in milliseconds. */
const maxFinish = 200

/**
 * Standard output as a log's destination. A full disk, a closed pipe and a pipe that no process reads are treated alike: up to
 * `maxPending` bytes that cannot be written are kept and tried again; lines beyond that are dropped and counted. Without
 * `write` it is standard output, written to without blocking.
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
        dropped += countLines(bytes)
        return
      }
      pending.push(...inWholeLines(bytes))
      pendingBytes += bytes.length
      // While the destination fails, only the timer tries to write, so that a line costs nothing.
      if (retry !== undefined || flush()) return
      retry = setInterval(tryAgain, retryInterval)
      retry.unref()
    },
    dropped: () => dropped,
    finish() {
      const until = performance.now() + maxFinish
      while (!flush() && performance.now() < until) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
      for (const bytes of pending) dropped += countLines(bytes)
      pending = []
      pendingBytes = 0
    }
  }
}

/**
 * Pieces that end with a line and have at most `maxWrite` bytes, unless a single line is longer. The processes of the service share
 * one pipe: if a longer write filled it, the rest would follow a line of another process.
 */
function inWholeLines(bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = []
  for (let start = 0; start < bytes.length; ) {
    let end = bytes.length
    if (end - start > maxWrite) end = bytes.lastIndexOf(newline, start + maxWrite - 1) + 1
    // The line is longer than a piece.
    if (end <= start) end = bytes.indexOf(newline, start) + 1 || bytes.length
    pieces.push(bytes.subarray(start, end))
    start = end
  }
  return pieces
}

const newline = 0x0a

function countLines(bytes: Buffer): number {
  let lines = 0
  for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, at + 1)) lines += 1
  return lines
}

/**
 * Writes to standard output without blocking. The flag O_NONBLOCK belongs to all processes that share an opening, and each child
 * process that starts or ends resets it. A pipe or a terminal is therefore opened again. A socket cannot be, so the flag is set
 * before each write. A file never stalls, and another opening would have a position of its own.
 */
function openStdout(): (bytes: Buffer) => number {
  const fd = reopen()
  if (fd !== undefined) return (bytes) => writeSync(fd, bytes)
  process.stdout.on('error', () => {})
  return (bytes) => {
    setNonBlocking(process.stdout)
    return writeSync(1, bytes)
  }
}

/** Sets O_NONBLOCK on a standard stream that is a socket; does nothing to others. */
export function setNonBlocking(stream: NodeJS.WriteStream): void {
  const { _handle: handle } = stream as { readonly _handle?: { setBlocking?(isBlocking: boolean): number } }
  if (stream instanceof Socket && !stream.isTTY) handle?.setBlocking?.(false)
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
