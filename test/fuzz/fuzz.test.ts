/*
 * Any input, in any shape, gets a response of the OpenAPI document: no 5xx, no crash, no internal details.
 * 2,000 requests, and 200 over sockets; KEYTURN_FUZZ=100000 sends more, and then the memory is looked at too.
 * KEYTURN_FUZZ_SEED=... makes the choices of a run again.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import { type Endpoint, endpointsOf, faultOf, undocumented } from './document.ts'
import { type FuzzedRequest, requestTo, usualRequest } from './requests.ts'
import { openFuzzed } from './service.ts'

const shortRun = 2000
const runs = Number(process.env.KEYTURN_FUZZ ?? shortRun)
const seed = Number(process.env.KEYTURN_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`KEYTURN_FUZZ=${runs} KEYTURN_FUZZ_SEED=${seed}`)
t.setTimeout(3_600_000)

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

/** What this process holds once its garbage is collected, in MB. */
function memory(): { readonly heap: number; readonly rss: number } {
  collectGarbage()
  const { heapUsed, rss } = process.memoryUsage()
  return { heap: Math.round(heapUsed / 2 ** 20), rss: Math.round(rss / 2 ** 20) }
}

/** How often each endpoint returned each status. */
function makeTable() {
  const rows = new Map<string, Map<number, number>>()
  return {
    count(endpoint: string, status: number) {
      const row = rows.get(endpoint) ?? new Map<number, number>()
      rows.set(endpoint, row.set(status, (row.get(status) ?? 0) + 1))
    },
    lines: (): readonly string[] =>
      [...rows]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([endpoint, row]) => {
          const counts = [...row].toSorted(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`)
          return `${endpoint.padEnd(45)} ${counts.join('  ')}`
        }),
    has: (endpoint: string, status: number): boolean => (rows.get(endpoint)?.get(status) ?? 0) > 0
  }
}

const nameOf = ({ method, path }: Endpoint): string => `${method} ${path}`

/** What Node cannot parse has no id: no request has come about. */
const isUnparsed = (status: number, fault: string): boolean =>
  [400, 408, 417, 431].includes(status) && fault === 'no X-Request-ID'

/** What a parser of HTTP goes by. */
const marks = fc.constantFrom(
  ...['\r\n', '\r\n\r\n', ': ', '\0', 'chunked', ' HTTP/1.1'].map((text) => Buffer.from(text))
)

/** Leaves a request as it is, or cuts some of its bytes out, or puts others in. */
const damage: fc.Arbitrary<(bytes: Buffer) => Buffer> = fc.oneof(
  fc.constant((bytes: Buffer) => bytes),
  fc
    .array(fc.tuple(fc.nat(), fc.nat(20), fc.oneof(fc.uint8Array({ maxLength: 20 }), marks)), {
      minLength: 1,
      maxLength: 4
    })
    .map((changes) => (bytes: Buffer) => {
      let changed = bytes
      for (const [place, cut, put] of changes) {
        const at = place % (changed.length + 1)
        changed = Buffer.concat([changed.subarray(0, at), put, changed.subarray(at + cut)])
      }
      return changed
    })
)

const configurations: readonly Record<string, string>[] = [{}, { COOKIE_MODE: 'on', ISSUER: 'https://auth.example' }]

for (const [index, env] of configurations.entries()) {
  t.test(`requests, with ${JSON.stringify(env)}`, async (t) => {
    const service = await openFuzzed(t, env)
    const endpoints = endpointsOf(service.document)
    t.ok(endpoints.length > 20)
    const table = makeTable()
    const share = Math.ceil(runs / configurations.length)
    let sent = 0
    let before = memory()
    const property = fc.asyncProperty(requestTo(endpoints), async (request) => {
      const { endpoint } = request
      const answer = await service.send(request)
      table.count(endpoint === undefined ? 'others' : nameOf(endpoint), answer.status)
      // What only grows until it is full has grown by then.
      if (++sent === Math.floor(share / 5)) before = memory()
      if (sent % 500 === 0) service.forget()
      const fault =
        faultOf(answer) ?? (endpoint === undefined ? undefined : undocumented(service.document, endpoint, answer))
      if (fault !== undefined) throw new Error(`${fault}: ${answer.status} ${answer.body.slice(0, 300)}`)
    })
    const usual = endpoints.map((endpoint): [FuzzedRequest] => [usualRequest(endpoint)])
    const failure = failureOf(await fc.check(property, { seed: seed + index, numRuns: share, examples: usual }))
    for (const line of table.lines()) t.comment(line)
    t.equal(failure, '', `${sent} requests`)
    t.same(Object.keys(Object.prototype), [], 'no prototype was touched')
    service.forget()
    const after = memory()
    t.comment(
      `heap ${before.heap} MB after a fifth, ${after.heap} MB at the end; rss ${before.rss} and ${after.rss} MB`
    )
    if (runs > shortRun) t.ok(after.heap - before.heap <= 10, 'nothing has piled up')
    // Without an ISSUER there is no metadata.
    const others = env.ISSUER === undefined ? /well-known\/o/ : /^$/
    for (const name of endpoints.map(nameOf).filter((each) => !others.test(each)))
      t.ok(
        [200, 201, 202, 204].some((status) => table.has(name, status)),
        `${name} has let somebody in`
      )
  })
}

t.test('bytes over sockets', async (t) => {
  const service = await openFuzzed(t, { REQUEST_TIMEOUT: '1s' })
  const table = makeTable()
  const count = Math.ceil(runs / 10)
  const property = fc.asyncProperty(requestTo(endpointsOf(service.document)), damage, async (request, change) => {
    const answer = await service.sendBytes(change(service.bytesOf(request)))
    if (answer === '') return table.count('sockets', 0)
    // One request is sent, but bytes that were put into it may have made it two.
    for (const each of answer.split(/(?=HTTP\/1\.1 \d{3} )/)) {
      const [head = '', body = ''] = each.split('\r\n\r\n')
      const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(head) ?? []
      table.count('sockets', Number(status))
      const fields = head
        .split('\r\n')
        .slice(1)
        .map((line) => line.toLowerCase().split(': '))
      const fault = faultOf({ status: Number(status), headers: Object.fromEntries(fields), body })
      if (fault !== undefined && !isUnparsed(Number(status), fault)) throw new Error(`${fault}: ${each.slice(0, 500)}`)
    }
  })
  const failure = failureOf(await fc.check(property, { seed, numRuns: count }))
  for (const line of table.lines()) t.comment(`${line} (0: closed, or waits for the rest)`)
  t.equal(failure, '', `${count} requests`)
  const last = Buffer.from('GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  t.match(await service.sendBytes(last), /^HTTP\/1\.1 200 /, 'it is still there')
})

/** What went wrong, with the smallest request that does it; nothing when all went well. */
function failureOf<T>({ failed, errorInstance, counterexample }: fc.RunDetails<T>): string {
  return failed ? `${(errorInstance as Error | null)?.message}\n${JSON.stringify(counterexample, null, 2)}` : ''
}
