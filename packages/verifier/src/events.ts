/** One event of a stream (HTML Standard, 9.2 Server-sent events), or a block that only sets the time to reconnect. */
export interface ServerEvent {
  readonly type: string
  readonly data: string
  /** Undefined where the event has no `id` field. */
  readonly id: string | undefined
  /** Milliseconds to wait before the next connection. */
  readonly retry: number | undefined
}

/** Characters of the longest event: 1,000 revocations take about 80,000. */
const maxEventLength = 1_000_000

interface Block {
  type?: string
  data?: string
  id?: string
  retry?: number
}

/** Turns the text of a stream, cut anywhere, into events. Bounded: an event beyond 1,000,000 characters throws. */
export class EventParser {
  #rest = ''
  #block: Block = {}
  #length = 0

  /** The events that `text` completes. */
  push(text: string): ServerEvent[] {
    const events: ServerEvent[] = []
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      this.#length += line.length
      if (this.#length > maxEventLength) break
      const event = this.#read(line.endsWith('\r') ? line.slice(0, -1) : line)
      if (event !== undefined) events.push(event)
    }
    if (this.#length + this.#rest.length > maxEventLength)
      throw new Error(`an event of over ${maxEventLength} characters`)
    return events
  }

  #read(line: string): ServerEvent | undefined {
    if (line === '') return this.#end()
    const colon = line.indexOf(':')
    if (colon === 0) {
      this.#length -= line.length // a comment
      return undefined
    }
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (name === 'event') this.#block.type = value
    else if (name === 'data')
      this.#block.data = this.#block.data === undefined ? value : `${this.#block.data}\n${value}`
    else if (name === 'id') this.#block.id = value
    else if (name === 'retry' && /^\d{1,9}$/.test(value)) this.#block.retry = Number(value)
    return undefined
  }

  #end(): ServerEvent | undefined {
    const { type = 'message', data = '', id, retry } = this.#block
    const isEmpty = Object.keys(this.#block).length === 0
    this.#block = {}
    this.#length = 0
    return isEmpty ? undefined : { type, data, id, retry }
  }
}
