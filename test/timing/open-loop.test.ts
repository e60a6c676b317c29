/* The benchmark's open loop (bench/client.ts), against a server whose delay is known. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Load, Round, RoundOrder, Task } from '../../bench/client.ts'

/** A server that answers at once, but for one request, whose answer takes `stallMs`. */
async function openServer(stallMs: number) {
  let served = 0
  const server = createServer((request, response) => {
    request.resume()
    served += 1
    setTimeout(() => response.end('{}'), served === 50 ? stallMs : 0)
  })
  // Otherwise the answer has no length.
  server.on('request', (_request, response) => response.setHeader('content-length', 2))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, close: () => server.close() }
}

async function measure(order: RoundOrder, stallMs: number): Promise<Round> {
  const { port, close } = await openServer(stallMs)
  const client = fork(fileURLToPath(new URL('../../bench/client.js', import.meta.url)), { execArgv: [] })
  try {
    const load: Load = { method: 'POST', path: '/', headers: {}, bodies: ['{}'], connections: 1, expects: '^{}$' }
    client.send({ port, load } satisfies Task)
    await once(client, 'message')
    client.send(order)
    const [round] = await once(client, 'message')
    return round
  } finally {
    client.kill()
    close()
  }
}

t.test('a stall is charged to every request that was due meanwhile', async (t) => {
  const stallMs = 400
  const round = await measure({ seconds: 2, rate: 200 }, stallMs)
  t.equal(round.requests, 400, 'as many as were due, although the only connection was busy')
  // Of 400 requests 80 were due during the stall; the hundredth part of the slowest waited nearly all of it.
  t.ok(round.p99 > 0.8 * stallMs, `p99 ${round.p99} ms`)
})
