import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'

export type Attributes = Readonly<Record<string, string | number | boolean>>

/** A span as it arrived. */
export interface ReceivedSpan {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  /** Empty for the first of its trace. */
  readonly parentId: string
  /** 2 is a server, 3 a client, 1 neither. Source: opentelemetry/proto/trace/v1/trace.proto. */
  readonly kind: number
  /** Nanoseconds since 1970. */
  readonly startedAt: bigint
  readonly endedAt: bigint
  readonly attributes: Attributes
  readonly isError: boolean
  /** The attributes of the process that recorded it. */
  readonly resource: Attributes
}

export interface Collector {
  /** The value of OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string
  /** What arrived so far. */
  readonly spans: readonly ReceivedSpan[]
  /** The bodies as they arrived, one after the other. */
  bytes(): Buffer
  /** The headers of the requests. */
  readonly headers: readonly IncomingMessage['headers'][]
  /** How many requests have arrived, answered or not. */
  requests(): number
}

/** Answers a request instead of the collector. */
type Answer = (response: ServerResponse) => void

/** A collector that speaks OTLP over HTTP and keeps all spans; closed with `t`. `answer` makes it a faulty one. */
export async function startCollector(t: Pick<Test, 'teardown'>, answer?: Answer): Promise<Collector> {
  const spans: ReceivedSpan[] = []
  const bodies: Buffer[] = []
  const headers: IncomingMessage['headers'][] = []
  let requests = 0
  const server = createServer(async (request, response) => {
    requests += 1
    const body = await buffer(request)
    if (answer !== undefined) return answer(response)
    if (request.url !== '/v1/traces') return response.writeHead(404).end()
    headers.push(request.headers)
    bodies.push(body)
    spans.push(...readSpans(body))
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, spans, bytes: () => Buffer.concat(bodies), headers, requests: () => requests }
}

/** A field of a message of protocol buffers. Source: protobuf.dev, Encoding. */
interface Field {
  readonly number: number
  /** Of a number. */
  readonly value: bigint
  /** Of a text, of bytes, or of a message. */
  readonly bytes: Buffer
}

function* fieldsOf(message: Buffer): Generator<Field> {
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++] ?? 0
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  const take = (length: number): Buffer => {
    at += length
    return message.subarray(at - length, at)
  }
  while (at < message.length) {
    const tag = Number(varint())
    const [number, type] = [tag >> 3, tag & 7]
    if (type === 0) yield { number, value: varint(), bytes: Buffer.alloc(0) }
    else if (type === 1) yield { number, value: take(8).readBigUInt64LE(), bytes: Buffer.alloc(0) }
    else if (type === 2) yield { number, value: 0n, bytes: take(Number(varint())) }
    else if (type === 5) yield { number, value: BigInt(take(4).readUInt32LE()), bytes: Buffer.alloc(0) }
    else throw new Error(`field ${number} has the wire type ${type}`)
  }
}

const all = (message: Buffer, number: number): Field[] =>
  [...fieldsOf(message)].filter((field) => field.number === number)
const one = (message: Buffer, number: number): Field =>
  all(message, number)[0] ?? { number, value: 0n, bytes: Buffer.alloc(0) }

const readSpans = (body: Buffer): ReceivedSpan[] =>
  all(body, 1).flatMap(({ bytes: ofResource }) => {
    const resource = readAttributes(all(one(ofResource, 1).bytes, 1))
    return all(ofResource, 2).flatMap(({ bytes: ofScope }) =>
      all(ofScope, 2).map(({ bytes }) => readSpan(bytes, resource))
    )
  })

const readSpan = (span: Buffer, resource: Attributes): ReceivedSpan => ({
  traceId: one(span, 1).bytes.toString('hex'),
  spanId: one(span, 2).bytes.toString('hex'),
  parentId: one(span, 4).bytes.toString('hex'),
  name: one(span, 5).bytes.toString(),
  kind: Number(one(span, 6).value),
  startedAt: one(span, 7).value,
  endedAt: one(span, 8).value,
  attributes: readAttributes(all(span, 9)),
  isError: one(one(span, 15).bytes, 3).value === 2n,
  resource
})

const readAttributes = (fields: readonly Field[]): Attributes =>
  Object.fromEntries(fields.map(({ bytes }) => [one(bytes, 1).bytes.toString(), readValue(one(bytes, 2).bytes)]))

function readValue(value: Buffer): string | number | boolean {
  const [field] = fieldsOf(value)
  if (field?.number === 1) return field.bytes.toString()
  if (field?.number === 2) return field.value === 1n
  if (field?.number === 3) return Number(field.value)
  throw new Error(`a value of the kind ${field?.number}`)
}
