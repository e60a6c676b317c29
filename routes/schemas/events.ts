import type { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'

const mediaType = 'text/event-stream'

/** Options of a route that can also answer with a stream of server-sent events. */
export const streams = {
  config: { alsoMakes: mediaType },
  // A stream does not end, so a HEAD request would never be answered.
  exposeHeadRoute: false
}

/** Such a stream as the content of a response. */
export const anEventStream = (example: string) => ({
  [mediaType]: { schema: { type: 'string', examples: [example] } }
})

export const wantsEvents = ({ headers }: FastifyRequest): boolean =>
  headers.accept?.toLowerCase().includes(mediaType) === true

/** The cursor of an EventSource that reconnects. Its URL does not change, so the header takes precedence over the query. */
export function lastEventId({ headers }: FastifyRequest): string | undefined {
  const id = headers['last-event-id']
  return typeof id === 'string' && id !== '' ? id : undefined
}

/** The connection is closed together with its stream: nothing else follows on it, and a drain need not wait for it. */
export const sendEvents = (reply: FastifyReply, stream: Readable): FastifyReply =>
  reply.header('content-type', mediaType).header('x-accel-buffering', 'no').header('connection', 'close').send(stream)
