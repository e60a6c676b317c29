import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import type { Verifier } from '../src/index.ts'
import { createTestIssuer } from '../src/testing.ts'
import type { Time } from '../src/time.ts'

/** Clocks that only a test moves. */
export interface Clock extends Time {
  /** Both go on by some seconds. */
  pass(seconds: number): void
  /** The wall clock is set; the monotonic one does not notice. */
  set(seconds: number): void
}

export function aClock(): Clock {
  let [wall, steady] = [Date.now() / 1000, 1000]
  return {
    now: () => wall,
    monotonic: () => steady,
    pass(seconds) {
      wall += seconds
      steady += seconds
    },
    set(seconds) {
      wall += seconds
    }
  }
}

/** Resolves once `condition` holds; the test's own timeout is the limit. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/** The code and the reason for which a token is refused, or `accepted`. */
export const verdictOf = (verifier: Verifier, token: string): Promise<string> =>
  verifier.verify(token).then(
    () => 'accepted',
    ({ code, message }) => `${code}: ${message}`
  )

export const accepted = 'accepted'
export const blacklisted = 'token_not_valid: Token is blacklisted'
export const invalidToken = 'token_not_valid: Token is invalid'
export const expiredToken = 'token_not_valid: Token is expired'
export const cannotKnow = 'unavailable: Service temporarily unavailable.'

export const event = (type: string, data: unknown, id?: string): string =>
  `event: ${type}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`
export const status = (more: object = {}): object => ({ lost_before: null, window: 360, age: 0, ...more })
export const inSixMinutes = (): number => Math.floor(Date.now() / 1000) + 360

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

export const sse = (response: ServerResponse): ServerResponse =>
  response.writeHead(200, { 'content-type': 'text/event-stream' })

/** A service on a real port that does what `stream` says with each connection to the revocation stream. */
export async function aService(t: Pick<Test, 'teardown'>, stream: Handler) {
  const issuer = await createTestIssuer()
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    if (request.url === '/api/revocations/') {
      requests.push(request)
      stream(request, response)
      return
    }
    // The documents of the issuer in memory, under this server's own URL.
    issuer.options
      .fetch(`https://keyturn.test${request.url}`, {})
      .then((answer) => answer.text())
      .then((text) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(text.replaceAll('https://keyturn.test', url))
      })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    url,
    /** Requests for the stream, in order. */
    requests,
    options: { issuer: url, client: { id: 'orders', secret: 's:e%c r+t' } },
    token: (more: Parameters<typeof issuer.token>[0] = {}) =>
      issuer.token({ ...more, claims: { iss: url, ...more.claims } }),
    cut: () => server.closeAllConnections()
  }
}
