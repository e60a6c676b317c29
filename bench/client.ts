/*
 * The process that sends requests, for bench/sides.ts. A client that computes as much as the server would be measured instead of
 * it, so HTTP is written and read by hand here: of an answer only the status, the length and the body.
 *
 * In a closed loop each connection sends its next request when it has its answer. In an open loop requests are due at a fixed
 * rate, whatever the answers do, and a latency counts from the moment at which its request was due: a server that stalls is
 * charged for all requests that wait meanwhile. A request that finds no free connection opens one, up to maxConnections.
 *
 * The bodies form a queue: the first one is sent, and goes to the end when it is answered; in a chain of refreshes the token of
 * the answer does. Every status is checked, and on each connection the body of the first answer of each round; the first wrong
 * one ends the process, because something else would be measured then.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { quantile } from './measure.ts'

export interface Load {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** At least as many as there are connections. */
  readonly bodies: readonly string[]
  readonly connections: number
  /** A regular expression that matches the body of an answer with 200. */
  readonly expects: string
  /** Whether the next body is `{"refresh": …}` with the token of the answer. */
  readonly isChain?: boolean
}

/** The outcome of a round. Latencies are in milliseconds. */
export interface Round {
  readonly requests: number
  readonly seconds: number
  readonly p50: number
  readonly p99: number
}

/** What a round is: a closed loop, or an open one with `rate` requests per second. */
export interface RoundOrder {
  readonly seconds: number
  readonly rate?: number
}

export interface Task {
  readonly port: number
  readonly load: Load
}

/**
 * How many an open loop may open: more would move the queue from here into the server's kernel, with the same latencies. No body is
 * under way twice: a refresh token that is presented again after its successor ends its session.
 */
const maxConnections = ({ bodies }: Load): number => Math.min(256, bodies.length)

interface Queue {
  take(): string
  giveBack(body: string): void
}

function makeQueue(bodies: readonly string[]): Queue {
  const queue = [...bodies]
  let [first, last] = [0, 0]
  return {
    take: () => queue[first++ % queue.length]!,
    giveBack(body) {
      queue[last++ % queue.length] = body
    }
  }
}

/** A connection with at most one request under way. */
class Connection {
  readonly #socket: Socket
  readonly #load: Load
  #received = ''
  #isFirst = true
  #done: ((body: string) => void) | undefined

  constructor(port: number, load: Load) {
    this.#load = load
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.on('error', (error) => fail(load, error.message))
    this.#socket.on('close', () => fail(load, 'the connection was closed'))
    this.#socket.on('data', (chunk) => this.#read(chunk))
  }

  /** The body of the first answer after this is checked. */
  check(): void {
    this.#isFirst = true
  }

  /** Sends a request; `done` is called with the body of the answer. */
  send(body: string, done: (body: string) => void): void {
    this.#done = done
    this.#socket.write(requestText(this.#load, body))
  }

  #read(chunk: Buffer): void {
    this.#received += chunk.toString('latin1')
    const answer = readAnswer(this.#received)
    if (answer === undefined) return
    this.#received = ''
    const { status, body } = answer
    const isRight = status === '200' && (!this.#isFirst || new RegExp(this.#load.expects).test(body))
    if (!isRight) fail(this.#load, `answered ${status} ${body}`)
    this.#isFirst = false
    this.#done?.(body)
  }
}

function fail({ method, path }: Load, reason: string): void {
  process.send?.({ failure: `${method} ${path}: ${reason}` }, () => process.exit(1))
}

const bodyAfter = (load: Load, sent: string, answer: string): string =>
  load.isChain ? JSON.stringify({ refresh: JSON.parse(answer).refresh }) : sent

/** Each connection sends its next request when it has its answer, for so many seconds; the latencies. */
async function closedLoop(connections: readonly Connection[], seconds: number): Promise<number[]> {
  const latencies: number[] = []
  const end = performance.now() + seconds * 1000
  const loop = (connection: Connection): Promise<void> =>
    new Promise((resolve) => {
      const send = (): void => {
        const [body, sentAt] = [queue.take(), performance.now()]
        connection.send(body, (answer) => {
          latencies.push(performance.now() - sentAt)
          queue.giveBack(bodyAfter(task.load, body, answer))
          if (performance.now() < end) send()
          else resolve()
        })
      }
      send()
    })
  await Promise.all(connections.map(loop))
  return latencies
}

let ticking: Worker | undefined

/** Ticks until the process ends: to start a thread delays the first requests of a round. */
async function startTicker(): Promise<Worker> {
  if (ticking !== undefined) return ticking
  ticking = new Worker(new URL('./ticker.js', import.meta.url))
  await once(ticking, 'message')
  return ticking
}

/** So many requests per second are due for so many seconds; the latencies, from when each was due. */
async function openLoop(connections: Connection[], seconds: number, rate: number): Promise<number[]> {
  const ticker = await startTicker()
  const latencies: number[] = []
  const idle = [...connections]
  const [total, began] = [Math.floor(seconds * rate), performance.now()]
  let sent = 0
  const dueAt = (number: number): number => began + (number * 1000) / rate
  await new Promise<void>((resolve) => {
    const sendOne = (due: number, connection: Connection): void => {
      const body = queue.take()
      connection.send(body, (answer) => {
        latencies.push(performance.now() - due)
        queue.giveBack(bodyAfter(task.load, body, answer))
        idle.push(connection)
        if (latencies.length === total) resolve()
      })
    }
    const sendDue = (): void => {
      while (sent < total && dueAt(sent) <= performance.now()) {
        const connection = idle.pop() ?? openAnother(connections)
        if (connection === undefined) break
        sendOne(dueAt(sent++), connection)
      }
    }
    ticker.on('message', sendDue)
  })
  ticker.removeAllListeners('message').on('message', () => undefined)
  return latencies
}

function openAnother(connections: Connection[]): Connection | undefined {
  if (connections.length >= maxConnections(task.load)) return undefined
  const connection = new Connection(task.port, task.load)
  connections.push(connection)
  return connection
}

async function run({ seconds, rate }: RoundOrder): Promise<Round> {
  // Not before the first round: a connection without a request for REQUEST_TIMEOUT is closed.
  while (connections.length < task.load.connections) openAnother(connections)
  for (const connection of connections) connection.check()
  const began = performance.now()
  const latencies =
    rate === undefined
      ? await closedLoop(connections.slice(0, task.load.connections), seconds)
      : await openLoop(connections, seconds, rate)
  return {
    requests: latencies.length,
    seconds: (performance.now() - began) / 1000,
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99)
  }
}

function requestText({ method, path, headers }: Load, body: string): string {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const length = method === 'GET' ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`
  return `${method} ${path} HTTP/1.1\r\nhost: bench\r\n${fields.join('')}${length}\r\n${body}`
}

/** Undefined until it is complete. A character is a byte: latin1. */
function readAnswer(text: string): { readonly status: string; readonly body: string } | undefined {
  const head = text.indexOf('\r\n\r\n')
  if (head === -1) return undefined
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1])
  const body = text.slice(head + 4)
  return body.length < length ? undefined : { status: text.slice(9, 12), body }
}

const [task] = (await once(process, 'message')) as [Task]
const queue = makeQueue(task.load.bodies)
const connections: Connection[] = []
process.on('message', async (order: RoundOrder) => process.send?.(await run(order)))
process.once('disconnect', () => process.exit())
process.send?.('ready')
