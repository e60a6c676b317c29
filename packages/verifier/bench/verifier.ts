/*
 * What verification costs: `npm run bench -w @keyturn/verifier`, on a quiet machine.
 *
 * 1. A token that was accepted before. Each call gets a string of its own, as from a request's header.
 * 2. A new ES256 token against the floor: node:crypto's verify of the same token, with the decoding of its header and payload. Both
 *    sides take turns in batches; the ratio is the median of the batches' own.
 * 3. A list of 100,000 revocations, loaded over HTTP from another process; how long it takes, and the memory that it keeps.
 */
import { fork } from 'node:child_process'
import { createPublicKey, verify } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { createVerifier, type Verifier } from '../src/index.ts'
import { createTestIssuer, type TestIssuer } from '../src/testing.ts'

const revocations = 100_000
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
const show = (name: string, value: string): void => console.log(`${name.padEnd(62)} ${value}`)

/** Microseconds per token. */
async function time(tokens: readonly string[], use: (token: string) => unknown): Promise<number> {
  const began = performance.now()
  for (const token of tokens) await use(token)
  return ((performance.now() - began) * 1000) / tokens.length
}

async function benchAccepted(verifier: Verifier, issuer: TestIssuer): Promise<void> {
  const tokens = await Promise.all(Array.from({ length: 1000 }, (_, i) => issuer.token({ userId: `${i}` })))
  for (const token of tokens) await verifier.verify(token)
  const rounds: number[] = []
  for (let round = 0; round < 30; round++) {
    const copies = tokens.map((token) => Buffer.from(token).toString('latin1'))
    rounds.push(await time(copies, (token) => verifier.verify(token)))
  }
  show('an accepted token, microseconds (median of 30 rounds of 1,000)', median(rounds).toFixed(2))
}

async function benchNew(verifier: Verifier, issuer: TestIssuer): Promise<void> {
  const answer = await issuer.options.fetch(`${issuer.options.issuer}/.well-known/jwks.json`, {})
  const { keys } = (await answer.json()) as { keys: [import('node:crypto').JsonWebKey] }
  const key = createPublicKey({ key: keys[0], format: 'jwk' })
  const floor = (token: string): unknown => {
    const [head = '', body = '', tail = ''] = token.split('.')
    JSON.parse(Buffer.from(head, 'base64url').toString())
    const signature = Buffer.from(tail, 'base64url')
    if (!verify('sha256', Buffer.from(`${head}.${body}`), { key, dsaEncoding: 'ieee-p1363' }, signature))
      throw new Error()
    return JSON.parse(Buffer.from(body, 'base64url').toString())
  }
  const [floors, ours, ratios]: [number[], number[], number[]] = [[], [], []]
  for (let batch = 0; batch < 100; batch++) {
    const tokens = await Promise.all(Array.from({ length: 50 }, () => issuer.token()))
    const first = batch % 2 === 0 ? await time(tokens, floor) : undefined
    const own = await time(tokens, (token) => verifier.verify(token))
    const other = first ?? (await time(tokens, floor))
    if (batch < 10) continue // warming up
    floors.push(other)
    ours.push(own)
    ratios.push(own / other)
  }
  show('a new ES256 token, microseconds: node:crypto', median(floors).toFixed(1))
  show('a new ES256 token, microseconds: verifier', median(ours).toFixed(1))
  show('a new ES256 token: ratio (median of 90 batches of 50)', median(ratios).toFixed(3))
}

async function benchLoading(): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), ['serve'])
  const [issuer] = (await once(child, 'message')) as [string]
  const collect = globalThis.gc ?? (() => {})
  try {
    const [times, sizes]: [number[], number[]] = [[], []]
    for (let round = 0; round < 5; round++) {
      collect()
      const before = process.memoryUsage().heapUsed
      const began = performance.now()
      const verifier = createVerifier({ issuer, client: { id: 'bench', secret: 'bench' } })
      await verifier.ready()
      times.push(performance.now() - began)
      collect()
      sizes.push((process.memoryUsage().heapUsed - before) / 1e6)
      await verifier.close()
    }
    show(`${revocations} revocations loaded, ms (median of 5)`, median(times).toFixed(0))
    // Later rounds reuse what the garbage collector has not yet freed of those before.
    show(`${revocations} revocations, MB of heap (most of 5)`, Math.max(...sizes).toFixed(1))
  } finally {
    child.kill()
  }
}

/** The other process: an issuer whose list of revocations is long. */
async function serve(): Promise<void> {
  const issuer = await createTestIssuer()
  const until = Math.floor(Date.now() / 1000) + 360
  const hex = (i: number): string => i.toString(16).padStart(32, '0')
  const pages = Array.from({ length: revocations / 1000 }, (_, page) => {
    const entries = Array.from({ length: 1000 }, (_, i) => ({ sid: hex(page * 1000 + i), until }))
    return `event: revoked\nid: e.${page}\ndata: ${JSON.stringify(entries)}\n\n`
  })
  const status = JSON.stringify({ lost_before: null, window: 360, age: 0 })
  const list = `${pages.join('')}event: caught-up\ndata: ${status}\n\n`
  const server = createServer(async ({ url = '' }, response) => {
    if (url === '/api/revocations/') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(list)
      return
    }
    const answer = await issuer.options.fetch(issuer.options.issuer + url, {})
    response.end((await answer.text()).replaceAll(issuer.options.issuer, base))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  process.send?.(base)
}

if (process.argv[2] === 'serve') await serve()
else {
  const issuer = await createTestIssuer()
  const verifier = createVerifier(issuer.options)
  await verifier.ready()
  await benchAccepted(verifier, issuer)
  await benchNew(verifier, issuer)
  await verifier.close()
  await benchLoading()
}
