import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isPreferred } from '../../src/header-fields.ts'

const mediaType = 'text/event-stream'

/** Options of a route that can also answer with a stream of server-sent events. */
export const streams = { config: { alsoMakes: mediaType } }

/** Such a stream as the content of a response. */
export const anEventStream = (example: string) => ({
  [mediaType]: { schema: { type: 'string', examples: [example] } }
})

export const wantsEvents = ({ headers }: FastifyRequest): boolean => isPreferred(mediaType, headers.accept)

/** The cursor of an EventSource that reconnects. Its URL does not change, so the header takes precedence over the query. */
export function lastEventId({ headers }: FastifyRequest): string | undefined {
  const id = headers['last-event-id']
  return typeof id === 'string' && id !== '' ? id : undefined
}

/**
 * Sends the stream that `open` returns. The connection is closed together with it: nothing else follows on it, and a drain need not
 * wait for it. For HEAD no stream is opened, since it would never end.
 */
export async function sendEvents(
  { method }: FastifyRequest,
  reply: FastifyReply,
  open: () => Readable | Promise<Readable>
): Promise<FastifyReply> {
  const stream = method === 'HEAD' ? Readable.from([]) : await open()
  return reply
    .header('content-type', mediaType)
    .header('x-accel-buffering', 'no')
    .header('connection', 'close')
    .send(stream)
}
