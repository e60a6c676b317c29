/*
 * The process that asks, for bench/sides.ts: so many connections, each of which sends its next request when it has its answer.
 * A client that computes as much as the server would be measured instead of it, so HTTP is written and read by hand here: of
 * an answer only the status, the length and the body.
 *
 * The bodies stand in a line: the first one is sent, and goes to the end of the line when it is answered; of a chain of
 * refreshes the token that came with the answer does. Every status is looked at, and on each connection the body of the first
 * answer of each round; the first wrong one ends the process, because what is measured then is something else.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { quantile } from './measure.ts'

export interface Load {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** At least as many as there are connections. */
  readonly bodies: readonly string[]
  readonly connections: number
  /** What the body of an answer with 200 looks like: a regular expression. */
  readonly expects: string
  /** Whether the next body is `{"refresh": …}` with the token of the answer. */
  readonly isChain?: boolean
}

/** What came of asking for a while. Latencies are in milliseconds. */
export interface Round {
  readonly requests: number
  readonly seconds: number
  readonly p99: number
}

export interface Task {
  readonly port: number
  readonly load: Load
}

/** Asks for `seconds`; resolves when the last request is answered. */
async function ask(sockets: readonly Socket[], line: Line, load: Load, seconds: number): Promise<Round> {
  const began = performance.now()
  const end = began + seconds * 1000
  const latencies: number[] = []
  await Promise.all(sockets.map((socket) => askOn(socket, line, load, end, latencies)))
  return {
    requests: latencies.length,
    seconds: (performance.now() - began) / 1000,
    p99: quantile(latencies, 0.99)
  }
}

interface Line {
  take(): string
  giveBack(body: string): void
}

function makeLine(bodies: readonly string[]): Line {
  const line = [...bodies]
  let [first, last] = [0, 0]
  return {
    take: () => line[first++ % line.length]!,
    giveBack(body) {
      line[last++ % line.length] = body
    }
  }
}

function askOn(socket: Socket, line: Line, load: Load, end: number, latencies: number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let [body, received, sentAt, isFirst] = ['', '', 0, true]
    const send = (): void => {
      body = line.take()
      sentAt = performance.now()
      socket.write(requestText(load, body))
    }
    const fail = (reason: string): void => reject(new Error(`${load.method} ${load.path}: ${reason}`))
    for (const event of ['data', 'error', 'close']) socket.removeAllListeners(event)
    socket.on('error', reject)
    socket.on('close', () => fail('the connection was closed'))
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
      const answer = readAnswer(received)
      if (answer === undefined) return
      received = ''
      latencies.push(performance.now() - sentAt)
      const isRight = answer.status === '200' && (!isFirst || new RegExp(load.expects).test(answer.body))
      if (!isRight) return fail(`answered ${answer.status} ${answer.body}`)
      isFirst = false
      line.giveBack(load.isChain ? JSON.stringify({ refresh: JSON.parse(answer.body).refresh }) : body)
      if (performance.now() < end) send()
      else resolve()
    })
    send()
  })
}

function requestText({ method, path, headers }: Load, body: string): string {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const length = method === 'GET' ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`
  return `${method} ${path} HTTP/1.1\r\nhost: bench\r\n${fields.join('')}${length}\r\n${body}`
}

/** Undefined until all of it is there. A character is a byte: latin1. */
function readAnswer(text: string): { readonly status: string; readonly body: string } | undefined {
  const head = text.indexOf('\r\n\r\n')
  if (head === -1) return undefined
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1])
  const body = text.slice(head + 4)
  return body.length < length ? undefined : { status: text.slice(9, 12), body }
}

async function connectAll({ port, load }: Task): Promise<readonly Socket[]> {
  const sockets = Array.from({ length: load.connections }, () => connect({ port, host: '127.0.0.1', noDelay: true }))
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  return sockets
}

const [task] = (await once(process, 'message')) as [Task]
const line = makeLine(task.load.bodies)
// Not before the first round: a connection on which nothing comes for REQUEST_TIMEOUT is closed.
let sockets: readonly Socket[] | undefined
process.on('message', async (seconds: number) => {
  try {
    sockets ??= await connectAll(task)
    process.send?.(await ask(sockets, line, task.load, seconds))
  } catch (error) {
    process.send?.({ failure: (error as Error).message })
  }
})
process.once('disconnect', () => process.exit())
process.send?.('ready')
