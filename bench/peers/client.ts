/*
 * The process that sends requests, for bench/peers/run.ts: a closed loop, in which each connection sends its next request when it has
 * its answer. It is like bench/client.ts and serves all services of a run, but peers need more than a body per request: cookies in the
 * header, forms that continue with a field of the answer, and answers in chunks.
 *
 * Every answer is checked, its status and a part of its body; the first wrong one ends the run. The connections of a round are its own,
 * since a service may close one that is idle while the others are measured.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { quantile } from '../measure.ts'

export interface PlannedRequest {
  /** The request line and the header fields, without Content-Length. */
  readonly head: string
  readonly body: string
}

/** What a client sends. */
export interface ClientPlan {
  readonly port: number
  readonly connections: number
  /** Sent in turn; at least as many as there are connections. */
  readonly requests: readonly PlannedRequest[]
  /** A part of the body of every answer. */
  readonly expects: string
  /** Of a chain of refresh tokens: the next body has this field of the answer in place of `$`. */
  readonly chain?: { readonly field: string; readonly body: string }
}

/** The outcome of a round. Latencies are in milliseconds. */
export interface ClientRound {
  readonly requests: number
  readonly seconds: number
  readonly p50: number
  readonly p99: number
}

/** The body; undefined until the answer is complete. A character is a byte: latin1. */
function readBody(text: string): string | undefined {
  const head = text.indexOf('\r\n\r\n')
  if (head === -1) return undefined
  const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1]
  const body = text.slice(head + 4)
  if (length === undefined) return body.endsWith('\r\n0\r\n\r\n') ? joinChunks(body) : undefined
  return body.length < Number(length) ? undefined : body
}

/** RFC 9112 §7.1: each chunk is its length in hexadecimal, a line break, so many bytes, and a line break; the last one is empty. */
function joinChunks(text: string): string {
  let [body, start] = ['', 0]
  for (;;) {
    const lineEnd = text.indexOf('\r\n', start)
    const length = Number.parseInt(text.slice(start, lineEnd), 16)
    if (!(length > 0)) return body
    body += text.slice(lineEnd + 2, lineEnd + 2 + length)
    start = lineEnd + 2 + length + 2
  }
}

const asText = ({ head, body }: PlannedRequest): string =>
  head.startsWith('GET') ? `${head}\r\n` : `${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

const following = ({ chain }: ClientPlan, request: PlannedRequest, answer: string): PlannedRequest =>
  chain ? { head: request.head, body: chain.body.replace('$', JSON.parse(answer)[chain.field]) } : request

/** Sends requests on one connection until `end`; pushes the latency of each. */
function loop(
  socket: Socket,
  plan: ClientPlan,
  queue: PlannedRequest[],
  end: number,
  latencies: number[]
): Promise<void> {
  return new Promise((resolve, reject) => {
    let [request, received, sentAt] = [queue[0] as PlannedRequest, '', 0]
    const fail = (reason: string): void => reject(new Error(`${request.head.split('\r\n')[0]}: ${reason}`))
    const send = (): void => {
      request = queue.shift() ?? request
      sentAt = performance.now()
      socket.write(asText(request))
    }
    socket.on('error', reject)
    socket.on('close', () => fail('the connection was closed'))
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
      const body = readBody(received)
      if (body === undefined) return
      latencies.push(performance.now() - sentAt)
      if (!received.startsWith('HTTP/1.1 200 ') || !body.includes(plan.expects)) return fail(`answered ${received}`)
      received = ''
      queue.push(following(plan, request, body))
      if (performance.now() < end) send()
      else resolve()
    })
    send()
  })
}

async function run(plan: ClientPlan, queue: PlannedRequest[], seconds: number): Promise<ClientRound> {
  const sockets = Array.from({ length: plan.connections }, () =>
    connect({ port: plan.port, host: '127.0.0.1', noDelay: true })
  )
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  const latencies: number[] = []
  const began = performance.now()
  await Promise.all(sockets.map((socket) => loop(socket, plan, queue, began + seconds * 1000, latencies)))
  const taken = (performance.now() - began) / 1000
  for (const socket of sockets) socket.destroy()
  return {
    requests: latencies.length,
    seconds: taken,
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99)
  }
}

const [plan] = (await once(process, 'message')) as [ClientPlan]
const queue = [...plan.requests]
process.on('message', async (seconds: number) => {
  try {
    process.send?.(await run(plan, queue, seconds))
  } catch (error) {
    process.send?.({ failure: (error as Error).message })
  }
})
process.once('disconnect', () => process.exit())
process.send?.('ready')
