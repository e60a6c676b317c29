import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { Refusal } from './terminal.ts'

/** The input of a command: a file or standard input. */
export interface Input {
  /** Its name in messages. */
  readonly name: string
  /** Undefined if unknown, as with a pipe. */
  readonly totalBytes: number | undefined
  /** How many bytes have been read. */
  bytes(): number
  /** Can be read once. Throws Refusal on a read error, or after `stop`. */
  readonly chunks: AsyncIterable<Buffer>
  /** Stops reading: `chunks` throws. */
  stop(): void
}

/** Opens a file; `-` is standard input. Throws Refusal if the file does not exist. */
export async function openInput(path: string): Promise<Input> {
  if (path === '-') return toInput('Standard input', undefined, () => process.stdin)
  const stats = await stat(path).catch((error) => {
    throw unreadable(path, error)
  })
  return toInput(path, stats.isFile() ? stats.size : undefined, () => createReadStream(path))
}

/** The stream is opened at the first read; an error before that would not be handled. */
function toInput(name: string, totalBytes: number | undefined, openStream: () => Readable): Input {
  let count = 0
  let isStopped = false
  let stream: Readable | undefined
  async function* read(): AsyncGenerator<Buffer> {
    try {
      if (isStopped) throw new Error('stopped')
      stream = openStream()
      for await (const chunk of stream) {
        count += chunk.length
        yield chunk
      }
    } catch (error) {
      throw isStopped ? new Refusal(`${name}: reading was interrupted.`) : unreadable(name, error)
    }
  }
  const stop = (): void => {
    isStopped = true
    stream?.destroy()
  }
  return { name, totalBytes, bytes: () => count, chunks: read(), stop }
}

const unreadable = (name: string, error: unknown): Refusal =>
  new Refusal(`${name}: cannot be read (${(error as NodeJS.ErrnoException).code ?? error}).`)
