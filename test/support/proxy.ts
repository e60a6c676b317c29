/** A TCP proxy between a client and a server, which treats them as a bad network does. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type ProxyOptions = {
  /** How long the next piece is under way, in milliseconds, either way; what comes after it waits behind it. */
  readonly delay?: () => number
}

/** One connection through the proxy. */
export type Tunnel = {
  /** The port of 127.0.0.1 from which the server sees it come. */
  port(): number | undefined
  /** Ends it: requests that are under way still arrive, the answers to them are lost. */
  cut(): void
  /** From now on the server hears and acts, and its client hears nothing; so until the tunnel is cut. */
  loseAnswers(): void
}

export type TcpProxy = {
  /** Of 127.0.0.1. */
  readonly port: number
  /** The connections that are open now, oldest first. */
  tunnels(): readonly Tunnel[]
  /** Closes every new connection at once, until it is called with false. */
  refuse(isRefusing: boolean): void
  /** Cuts all connections and takes no more. */
  close(): Promise<void>
}

/** Starts a proxy to a port of 127.0.0.1. A server that is away is a connection that is closed at once. */
export async function openProxy(serverPort: number, { delay = () => 0 }: ProxyOptions = {}): Promise<TcpProxy> {
  const tunnels = new Set<Tunnel>()
  let refusing = false
  const listener = createServer((client) => {
    if (refusing) {
      client.destroy()
      return
    }
    const tunnel = openTunnel(client, connect(serverPort, '127.0.0.1'), delay, () => tunnels.delete(tunnel))
    tunnels.add(tunnel)
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  return {
    port: (listener.address() as AddressInfo).port,
    tunnels: () => [...tunnels],
    refuse(isRefusing) {
      refusing = isRefusing
    },
    async close() {
      listener.close()
      for (const tunnel of tunnels) tunnel.cut()
      await once(listener, 'close')
    }
  }
}

function openTunnel(client: Socket, server: Socket, delay: () => number, whenOver: () => void): Tunnel {
  const requests = makeLane(server, delay)
  const answers = makeLane(client, delay)
  let isDeaf = false
  let isOver = false
  const cut = () => {
    if (isOver) return
    isOver = true
    requests.hurry()
    server.end() // after what was written: the server reads all of it, whether or not anyone waits for the answer
    client.destroy()
    answers.drop()
    whenOver()
  }
  for (const socket of [client, server]) {
    socket.setNoDelay(true)
    socket.on('error', () => {}) // 'close' follows
    socket.on('close', cut)
  }
  client.on('data', (piece) => requests.send(piece))
  server.on('data', (piece) => {
    if (!isDeaf && !isOver) answers.send(piece)
  })
  return {
    port: () => server.localPort,
    cut,
    loseAnswers() {
      isDeaf = true
      answers.drop()
    }
  }
}

/** One way: pieces arrive in order, each after its delay. It knows no back-pressure; tests send little. */
function makeLane(to: Socket, delay: () => number) {
  const pieces: Buffer[] = []
  let timer: NodeJS.Timeout | undefined
  const deliver = () => {
    const piece = pieces.shift()
    if (piece !== undefined) to.write(piece)
    schedule()
  }
  const schedule = () => {
    timer = pieces.length === 0 ? undefined : setTimeout(deliver, delay())
  }
  const stop = () => {
    clearTimeout(timer)
    timer = undefined
    return pieces.splice(0)
  }
  return {
    send(piece: Buffer) {
      const wait = timer === undefined ? delay() : undefined
      if (wait === 0) to.write(piece)
      else {
        pieces.push(piece)
        if (wait !== undefined) timer = setTimeout(deliver, wait)
      }
    },
    /** What is under way arrives now. */
    hurry() {
      for (const piece of stop()) to.write(piece)
    },
    /** What is under way never arrives. */
    drop() {
      stop()
    }
  }
}
