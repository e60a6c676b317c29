import { execFile } from 'node:child_process'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import t from 'tap'
import { createVerifier } from '../src/index.ts'
import { Verifier } from '../src/verifier.ts'
import {
  accepted,
  aClock,
  aService,
  blacklisted,
  cannotKnow,
  event,
  type Handler,
  inSixMinutes,
  sse,
  status,
  until,
  verdictOf
} from './support.ts'

const revoked = (sid: string, id?: string): string => event('revoked', [{ sid, until: inSixMinutes() }], id)
const caughtUp = event('caught-up', status(), 'e.1')

t.test('stream: the client authenticates, asks for events, and continues after the last one', async (t) => {
  const service = await aService(t, (request, response) => {
    if (request.headers['last-event-id'] === undefined)
      sse(response).end(`retry: 1\n\n${revoked('a', 'e.1')}${caughtUp}`)
    else sse(response).write(revoked('b', 'e.2') + event('caught-up', status(), 'e.2'))
  })
  const verifier = createVerifier(service.options)
  t.teardown(() => verifier.close())
  let connections = 0
  verifier.on('connected', () => connections++)
  await until(() => connections === 2)
  const [first, second] = service.requests
  t.match(first?.headers, {
    accept: 'text/event-stream',
    'accept-encoding': 'identity',
    authorization: `Basic ${Buffer.from('orders:s%3Ae%25c+r%2Bt').toString('base64')}`
  })
  t.equal(second?.headers['last-event-id'], 'e.1')
  await verifier.ready()
  t.equal(await verdictOf(verifier, await service.token({ sessionId: 'a' })), blacklisted)
  t.equal(await verdictOf(verifier, await service.token({ sessionId: 'b' })), blacklisted)
  t.equal(await verdictOf(verifier, await service.token({ sessionId: 'c' })), accepted)
})

t.test('stream: events that are cut anywhere are put together', async (t) => {
  const text = `: hello\n\n${revoked('ä', 'e.1')}${caughtUp}`
  const bytes = Buffer.from(text)
  const service = await aService(t, async (_request, response) => {
    sse(response)
    for (const byte of bytes) {
      response.write(Buffer.of(byte))
      await new Promise(setImmediate)
    }
  })
  const verifier = createVerifier(service.options)
  t.teardown(() => verifier.close())
  await verifier.ready()
  t.equal(await verdictOf(verifier, await service.token({ sessionId: 'ä' })), blacklisted)
})

/** Each of these ends a connection that was not complete: until there is a better one, nothing is known. */
const faults: Record<string, Handler> = {
  'a wrong secret': (_, response) => response.writeHead(401).end('{}'),
  'a 404 of a proxy': (_, response) => response.writeHead(404, { 'content-type': 'text/html' }).end('<html>'),
  'too many streams': (_, response) => response.writeHead(503, { 'retry-after': '1' }).end('{}'),
  'a redirect': (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(),
  'JSON in place of a stream': (_, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
  'no content': (_, response) => response.writeHead(204).end(),
  'the connection is cut before an answer': (request) => request.socket.destroy(),
  'an empty stream': (_, response) => sse(response).end(),
  'an event that is cut': (_, response) => sse(response).end('event: caught-up\ndata: {"window":360,"age":0'),
  'bytes that are not UTF-8': (_, response) => sse(response).end(Buffer.from([0xff, 0xfe, 0x0a, 0x0a])),
  'data that is not JSON': (_, response) => sse(response).end(`event: revoked\ndata: x\n\n${caughtUp}`),
  'a list that is not one': (_, response) => sse(response).end(event('revoked', { sid: 'a' }) + caughtUp),
  'an entry of an unknown kind': (_, response) =>
    sse(response).end(event('revoked', [{ client: 'a', until: 1 }]) + caughtUp),
  'an entry without a time': (_, response) => sse(response).end(event('revoked', [{ sid: 'a' }]) + caughtUp),
  'an entry with two ids': (_, response) =>
    sse(response).end(event('revoked', [{ sid: 'a', jti: 'b', until: 1 }]) + caughtUp),
  'an entry with an id that is not a text': (_, response) =>
    sse(response).end(event('revoked', [{ sid: 'a', jti: 7, until: 1 }]) + caughtUp),
  'a status without an age': (_, response) => sse(response).end(event('caught-up', { lost_before: null, window: 360 })),
  'a heartbeat before the snapshot is complete': (_, response) => sse(response).end(event('heartbeat', status())),
  'a reset after the snapshot': (_, response) => sse(response).end(caughtUp + event('reset', {}, '')),
  'an event that does not end': (_, response) => {
    sse(response).write('data: ')
    const more = (): boolean => response.write('x'.repeat(65_536))
    response.on('drain', more)
    more()
  }
}

for (const [name, fault] of Object.entries(faults)) {
  t.test(`stream: it cannot know, and tries again, after ${name}`, async (t) => {
    let repair = (): void => {}
    const repaired = new Promise<void>((resolve) => {
      repair = resolve
    })
    const service = await aService(t, (request, response) => {
      if (service.requests.length === 1) fault(request, response)
      else void repaired.then(() => sse(response).write(revoked('a', 'e.1') + caughtUp))
    })
    const verifier = createVerifier(service.options)
    t.teardown(() => verifier.close())
    const keys = once(verifier, 'keys')
    await once(verifier, 'disconnected')
    await keys
    t.equal(await verdictOf(verifier, await service.token()), cannotKnow)
    repair()
    await verifier.ready()
    t.equal(await verdictOf(verifier, await service.token()), accepted)
    t.equal(await verdictOf(verifier, await service.token({ sessionId: 'a' })), blacklisted)
    t.equal(service.requests.length, 2)
  })
}

t.test(
  'stream: a reset forgets the cursor but no revocation, and nothing else is known until the snapshot is complete',
  async (t) => {
    let open: ServerResponse | undefined
    const service = await aService(t, (_request, response) => {
      open = sse(response)
      open.write(revoked('a', 'e.1') + caughtUp)
    })
    const verifier = createVerifier(service.options)
    t.teardown(() => verifier.close())
    await verifier.ready()
    const [old, other] = await Promise.all([service.token({ sessionId: 'a' }), service.token({ sessionId: 'b' })])
    t.equal(await verdictOf(verifier, other), accepted)
    const heard = once(verifier, 'revoked')
    open?.write(`event: reset\nid:\ndata: {}\n\n${event('heartbeat', status())}${revoked('c', 'f.1')}`)
    await heard
    t.equal(await verdictOf(verifier, old), blacklisted)
    t.equal(await verdictOf(verifier, other), cannotKnow, 'a heartbeat before the snapshot is complete does not count')
    const connected = once(verifier, 'connected')
    open?.write(event('caught-up', status(), 'f.1'))
    await connected
    t.equal(await verdictOf(verifier, old), blacklisted)
    t.equal(await verdictOf(verifier, other), accepted)
  }
)

t.test('stream: a reset that is cut off begins again without a cursor', async (t) => {
  const service = await aService(t, (_request, response) => {
    if (service.requests.length === 1) sse(response).write(caughtUp)
    else sse(response).write(revoked('a', 'f.1') + event('caught-up', status(), 'f.1'))
    if (service.requests.length === 1) setImmediate(() => response.end('event: reset\nid:\ndata: {}\n\n'))
  })
  const verifier = createVerifier(service.options)
  t.teardown(() => verifier.close())
  await until(() => service.requests.length === 2)
  t.equal(service.requests[1]?.headers['last-event-id'], undefined)
})

t.test('stream: tokens issued before a loss of the list are refused', async (t) => {
  const lost = Math.floor(Date.now() / 1000) + 60
  const service = await aService(t, (_request, response) => {
    sse(response).write(event('caught-up', status({ lost_before: lost }), 'e.1'))
  })
  const verifier = createVerifier(service.options)
  t.teardown(() => verifier.close())
  await verifier.ready()
  t.equal(await verdictOf(verifier, await service.token()), blacklisted)
  t.equal(await verdictOf(verifier, await service.token({ claims: { iat: lost } })), accepted)
})

t.test('stream: through an interruption tokens are accepted for as long as the staleness allows', async (t) => {
  const clock = aClock()
  let isUp = true
  const service = await aService(t, (_request, response) => {
    if (isUp) sse(response).write(caughtUp)
    else response.destroy()
  })
  const verifier = new Verifier({ ...service.options, staleness: 20 }, clock)
  t.teardown(() => verifier.close())
  await verifier.ready()
  const token = await service.token()
  isUp = false
  service.cut()
  await once(verifier, 'disconnected')
  clock.pass(20)
  t.equal(await verdictOf(verifier, token), accepted)
  clock.pass(0.1)
  t.equal(await verdictOf(verifier, token), cannotKnow)
  await t.rejects(verifier.ready(1), { message: /unavailable/ })
  isUp = true
  await verifier.ready()
  t.equal(await verdictOf(verifier, token), accepted)
})

t.test('stream: data that waited while the process was suspended confirms nothing', async (t) => {
  const clock = aClock()
  let open: ServerResponse | undefined
  const service = await aService(t, (_request, response) => {
    open = sse(response)
    if (service.requests.length === 1) open.write(caughtUp)
  })
  const verifier = new Verifier(service.options, clock)
  t.teardown(() => verifier.close())
  await verifier.ready()
  clock.pass(31)
  const ended = once(verifier, 'disconnected')
  open?.write(event('heartbeat', status(), 'e.2'))
  const [error] = await ended
  t.match(error, /no data for 10 s/)
  t.equal(await verdictOf(verifier, await service.token()), cannotKnow)
  await until(() => service.requests.length === 2)
  t.equal(service.requests[1]?.headers['last-event-id'], 'e.1', 'it continues after what was taken')
})

t.test('stream: a drain costs a reconnect after the time that the service names', async (t) => {
  const service = await aService(t, (_request, response) => {
    if (service.requests.length === 1) sse(response).end(`${caughtUp}retry: 20\n\n`)
    else sse(response).write(caughtUp)
  })
  const verifier = createVerifier(service.options)
  t.teardown(() => verifier.close())
  const [error, waitMs] = (await once(verifier, 'disconnected')) as [unknown, number]
  t.equal(error, undefined)
  t.ok(waitMs >= 20 && waitMs <= 30, `${waitMs} ms`)
})

/** A service that accepts every connection, and then ends it in one of these ways. `retry` makes the first retry a quick one. */
const shortStreams: Record<string, Handler> = {
  'it ends empty streams': (_, response) => sse(response).end('retry: 1\n\n'),
  'it ends streams after the snapshot': (_, response) => sse(response).end(`retry: 1\n\n${caughtUp}`),
  'it ends streams after a heartbeat': (_, response) =>
    sse(response).end(`retry: 1\n\n${caughtUp}${event('heartbeat', status())}`),
  'it ends streams after a revocation': (_, response) =>
    sse(response).end(`retry: 1\n\n${caughtUp}${revoked('a', 'e.2')}`),
  'it resets each stream': (_, response) => sse(response).end(`retry: 1\n\n${caughtUp}${event('reset', {}, '')}`),
  'it asks for no pause': (_, response) => sse(response).end(`retry: 0\n\n${caughtUp}`),
  'it cuts streams after the snapshot': (_, response) => {
    sse(response).write(caughtUp, () => setImmediate(() => response.destroy()))
  }
}

t.test('stream: a service whose streams do not last is asked less and less often', async (t) => {
  const waitsFor = async (stream: Handler): Promise<number[]> => {
    const service = await aService(t, stream)
    const verifier = createVerifier(service.options)
    t.teardown(() => verifier.close())
    const waits: number[] = []
    verifier.on('disconnected', (_error, waitMs) => waits.push(waitMs))
    await until(() => waits.length === 4)
    return waits
  }
  const all = Object.entries(shortStreams).map(async ([name, stream]) => [name, await waitsFor(stream)] as const)
  for (const [name, [first = 0, ...waits]] of await Promise.all(all)) {
    t.ok(first <= 150, `${name}: ${first} ms`)
    for (const [index, from] of [200, 400, 800].entries())
      t.ok((waits[index] as number) >= from && (waits[index] as number) <= from * 1.5, `${name}: ${waits} ms`)
  }
})

t.test('stream: after one that lasted for five seconds the next retry is quick again', async (t) => {
  const clock = aClock()
  let open: ServerResponse | undefined
  const service = await aService(t, (_request, response) => {
    open = sse(response)
    if (service.requests.length < 3) open.end(`retry: 1\n\n${caughtUp}`)
    else open.write(caughtUp)
  })
  const verifier = new Verifier(service.options, clock)
  t.teardown(() => verifier.close())
  const waits: number[] = []
  verifier.on('disconnected', (_error, waitMs) => waits.push(waitMs))
  let connections = 0
  verifier.on('connected', () => connections++)
  await until(() => connections === 3)
  clock.pass(4.9)
  open?.end()
  await until(() => connections === 4)
  clock.pass(5)
  open?.end()
  await until(() => connections === 5)
  t.ok((waits[2] as number) >= 400, `${waits} ms`)
  t.ok((waits[3] as number) <= 1.5, `${waits} ms`)
})

t.test(
  'stream: waits grow from one failure to the next, and credentials that are refused are not tried often',
  async (t) => {
    const answers = [500, 500, 500, 401, 403]
    const service = await aService(t, (_request, response) => {
      response.writeHead(answers[service.requests.length - 1] as number).end()
    })
    const verifier = createVerifier(service.options)
    t.teardown(() => verifier.close())
    const waits: number[] = []
    verifier.on('disconnected', (_error, waitMs) => waits.push(waitMs))
    await until(() => waits.length === 4)
    for (const [index, from] of [100, 200, 400, 16_000].entries())
      t.ok((waits[index] as number) >= from && (waits[index] as number) <= from * 1.5, `${waits[index]} ms`)
    await t.rejects(verifier.ready(1), { message: /unavailable/ })
  }
)

t.test('stream: a listener that throws does not end the stream', async (t) => {
  const service = await aService(t, (_request, response) => {
    if (service.requests.length === 1) sse(response).end(`${revoked('a', 'e.1')}${caughtUp}retry: 1\n\n`)
    else sse(response).write(revoked('b', 'e.2') + event('caught-up', status(), 'e.2'))
  })
  const token = await service.token({ sessionId: 'b' })
  // In a process of its own: here, an uncaught exception would be a failure.
  const script = `
    import { createVerifier } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)}
    let thrown = 0
    process.on('uncaughtException', () => thrown++)
    const verifier = createVerifier(${JSON.stringify(service.options)})
    for (const name of ['revoked', 'connected', 'disconnected', 'keys']) verifier.on(name, () => { throw new Error(name) })
    const verdict = () => verifier.verify(${JSON.stringify(token)}).then(() => 'accepted', ({ message }) => message)
    while ((await verdict()) !== 'Token is blacklisted') await new Promise((resolve) => setTimeout(resolve, 5))
    await verifier.close()
    console.log(thrown)`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script])
  t.ok(Number(stdout) >= 5, `${stdout} exceptions`)
})

t.test('stream: closing does not wait for what the service does', async (t) => {
  for (const stream of [() => {}, (_: unknown, response: ServerResponse) => void sse(response).write(caughtUp)]) {
    const service = await aService(t, stream as Handler)
    const verifier = createVerifier(service.options)
    await until(() => service.requests.length === 1)
    await verifier.close()
  }
})
