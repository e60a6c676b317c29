import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import t, { type Test } from 'tap'
import { type ListeningSocket, openSocket, portFault } from '../../../src/cluster/socket.ts'

/** A server that accepts on the socket; closed with `t`. */
async function serve(t: Test, { handle }: ListeningSocket): Promise<void> {
  const server = createServer((_request, answer) => answer.setHeader('connection', 'close').end('me'))
  server.listen(handle)
  await once(server, 'listening')
  t.teardown(() => server.close())
}

const get = async (url: string): Promise<string> => await (await fetch(url)).text()

t.test('socket: HOST is an address or a name', async (t) => {
  const rows: readonly (readonly [host: string, url: RegExp])[] = [
    ['127.0.0.1', /^http:\/\/127\.0\.0\.1:\d+$/],
    ['::1', /^http:\/\/\[::1\]:\d+$/],
    ['localhost', /^http:\/\/localhost:\d+$/]
  ]
  for (const [host, url] of rows) {
    const socket = await openSocket({ host, port: 0 }, {})
    t.match(socket.url, url)
    await serve(t, socket)
    t.equal(await get(socket.url), 'me', host)
    socket.close()
  }
  const both = await openSocket({ host: '::', port: 0 }, {})
  await serve(t, both)
  t.equal(await get(both.url.replace('[::]', '127.0.0.1')), 'me', ':: accepts IPv4 too')
  both.close()
})

t.test('socket: an address that cannot be bound is an error of one line', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1')
  await once(holder, 'listening')
  t.teardown(() => holder.close())
  const { port } = holder.address() as AddressInfo
  await t.rejects(openSocket({ host: '127.0.0.1', port }, {}), {
    name: 'ConfigError',
    message: `PORT: cannot listen on 127.0.0.1 port ${port}: the address is already in use.`
  })
  await t.rejects(openSocket({ host: '192.0.2.1', port: 0 }, {}), {
    name: 'ConfigError',
    message: 'PORT: cannot listen on 192.0.2.1 port 0: EADDRNOTAVAIL.'
  })
  await t.rejects(openSocket({ host: 'nowhere.invalid', port: 0 }, {}), {
    name: 'ConfigError',
    message: /^HOST: got "nowhere\.invalid", expected an address .* \((ENOTFOUND|EAI_AGAIN)\)\.$/
  })
  t.equal(portFault('::1', 80, 'EACCES').message, 'PORT: cannot listen on ::1 port 80: EACCES.')
})

t.test('socket: a closed socket frees its port', async (t) => {
  const socket = await openSocket({ host: '127.0.0.1', port: 0 }, {})
  const port = Number(new URL(socket.url).port)
  socket.close()
  socket.close()
  const client = connect(port, '127.0.0.1')
  t.match(await once(client, 'error'), [{ code: 'ECONNREFUSED' }])
  const again = await openSocket({ host: '127.0.0.1', port }, {})
  again.close()
})

t.test('socket: LISTEN_FDS meant for another process is ignored', async (t) => {
  const socket = await openSocket({ host: '127.0.0.1', port: 0 }, { LISTEN_FDS: '1', LISTEN_PID: String(process.ppid) })
  t.match(socket.url, /^http:\/\/127\.0\.0\.1:\d+$/)
  socket.close()
})
