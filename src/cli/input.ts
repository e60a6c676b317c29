import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { Refusal } from './terminal.ts'

/** What a command reads from a file, or from standard input. */
export interface Input {
  /** For people. */
  readonly name: string
  /** Undefined when nobody knows, as of a pipe. */
  readonly totalBytes: number | undefined
  /** How many have been read. */
  bytes(): number
  /** To be read once. Throws Refusal when it cannot be read any further, or was stopped. */
  readonly chunks: AsyncIterable<Buffer>
  /** Reads no more: `chunks` throws. */
  stop(): void
}

/** Opens a file; `-` is standard input. Throws Refusal when there is no such file. */
export async function openInput(path: string): Promise<Input> {
  if (path === '-') return toInput('Standard input', undefined, () => process.stdin)
  const stats = await stat(path).catch((error) => {
    throw unreadable(path, error)
  })
  return toInput(path, stats.isFile() ? stats.size : undefined, () => createReadStream(path))
}

/** The stream is opened when it is read: before that nobody would hear that it cannot be opened. */
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
      throw isStopped ? new Refusal(`${name}: stopped before its end.`) : unreadable(name, error)
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
