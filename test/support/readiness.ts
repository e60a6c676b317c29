/** Readiness, asked on connections that were opened before their worker began to drain. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Test } from 'tap'
import { type RunningArbiter, until } from './arbiter.ts'

/** What a readiness probe was answered. */
export interface Probe {
  readonly status: number
  readonly serving: string
  /** Whether the answer announced that the connection closes after it. */
  readonly closes: boolean
}

export interface Held {
  probe(): Promise<Probe>
  close(): void
}

/**
 * A kept-alive connection to whichever worker accepts it. The head of its next request is sent ahead but for the last line,
 * so the worker cannot close the connection as idle, however late the test completes the request.
 */
export async function holdConnection(t: Test, { url }: RunningArbiter): Promise<Held> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname).setEncoding('utf8')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {}).on('end', () => socket.destroy(new Error('closed without an answer')))
  const head = 'GET /health/ready HTTP/1.1\r\nHost: x\r\n'
  socket.write(head)
  const probe = async (): Promise<Probe> => {
    const answer = once(socket, 'data')
    socket.write(`\r\n${head}`)
    const [text] = await answer
    const [, status] = /^HTTP\/1\.1 (\d+) /.exec(text) ?? []
    const [, serving = ''] = /"serving":"(\w+)"/.exec(text) ?? []
    return { status: Number(status), serving, closes: /\r\nconnection: close\r\n/i.test(text) }
  }
  t.same(await probe(), { status: 200, serving: 'up', closes: false })
  return { probe, close: () => socket.destroy() }
}

/** Repeats a probe until its connection is about to close: the worker that answers it is draining. */
export async function untilDraining({ probe }: Held): Promise<Probe> {
  let last = await probe()
  const isLast = async (): Promise<boolean> => {
    if (!last.closes) last = await probe()
    return last.closes
  }
  await until(isLast, 'the worker drains')
  return last
}
