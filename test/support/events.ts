/** A reader of server-sent events, byte by byte as they come. */
import { once } from 'node:events'
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import type { Test } from 'tap'
import { until } from '../conformance/feed.ts'

export interface ServerEvent {
  readonly event: string
  readonly id: string | undefined
  // biome-ignore lint/suspicious/noExplicitAny: events have data of several shapes, and tests look into them
  readonly data: any
}

export interface EventReader {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** What has come so far. */
  readonly events: readonly ServerEvent[]
  /** The same as text: comments and retry too. */
  text(): string
  /** Resolves with the first event of this name from the `from`th on. */
  next(name: string, from?: number): Promise<ServerEvent>
  /** Resolves when the body has ended: false when it was cut. */
  readonly ended: Promise<boolean>
  /** Stops reading, and reads on. */
  readonly response: IncomingMessage
  close(): void
}

/** Opens the stream at `url`; closed with `t`. Any other response is read as text. */
export async function readEvents(
  t: Pick<Test, 'teardown'>,
  url: string,
  headers: Record<string, string>
): Promise<EventReader> {
  const asked: ClientRequest = request(url, { headers: { accept: 'text/event-stream', ...headers }, agent: false })
  asked.on('error', () => {})
  t.teardown(() => asked.destroy())
  asked.end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  const events: ServerEvent[] = []
  const chunks: string[] = []
  let rest = ''
  response.setEncoding('utf8').on('data', (chunk: string) => {
    chunks.push(chunk)
    const blocks = (rest + chunk).split('\n\n')
    rest = blocks.pop() ?? ''
    for (const block of blocks) {
      const event = parse(block)
      if (event !== undefined) events.push(event)
    }
  })
  response.on('error', () => {})
  const ended = new Promise<boolean>((resolve) => response.once('close', () => resolve(response.complete)))
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    events,
    text: () => chunks.join(''),
    async next(name, from = 0) {
      const find = () => events.slice(from).find(({ event }) => event === name)
      await until(() => find() !== undefined, 60_000)
      return find() as ServerEvent
    },
    ended,
    response,
    close: () => asked.destroy()
  }
}

function parse(block: string): ServerEvent | undefined {
  const fields = new Map(block.split('\n').map((line) => splitLine(line)))
  const event = fields.get('event')
  return event === undefined
    ? undefined
    : { event, id: fields.get('id'), data: JSON.parse(fields.get('data') ?? 'null') }
}

function splitLine(line: string): [name: string, value: string] {
  const colon = line.indexOf(':')
  return [line.slice(0, colon), line.slice(colon + 1).trimStart()]
}
