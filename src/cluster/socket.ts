import { lookup } from 'node:dns/promises'
import net, { type AddressInfo } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/settings.ts'

/** A bound TCP socket, in the form that processes pass to each other and `net.Server.listen` takes. */
export interface ListeningSocket {
  readonly handle: object
  /** http://127.0.0.1:8000 */
  readonly url: string
  close(): void
}

type SocketSettings = Readonly<Pick<Config, 'host' | 'port' | 'managementPort'>>

/** The sockets of a service. */
export interface Sockets {
  readonly service: ListeningSocket
  readonly management?: ListeningSocket
}

/** Node's own wrapper of a TCP socket. */
interface TcpHandle {
  getsockname(out: Partial<AddressInfo>): number
  close(): void
}

/**
 * The function that node:cluster itself calls to bind in the primary process. It is undocumented, and the same in Node 20 to
 * 26. On failure, it returns a number. Of five ways to share a port that were measured, two lose no connection during a reload
 * or when a worker dies, and detect a port in use. This is the simpler one.
 */
const { _createServerHandle: createServerHandle } = net as unknown as {
  _createServerHandle(address: string | null, port: number, family: 4 | 6, fd?: number): TcpHandle | number
}

/** The file descriptor of the first socket that systemd passes. Source: sd_listen_fds(3). */
const firstPassed = 3

/**
 * Binds the address that all workers accept on, or takes the socket that systemd's socket activation has passed
 * (LISTEN_FDS). Throws ConfigError naming PORT, HOST or LISTEN_FDS on failure.
 */
export async function openSocket(
  { host, port }: { readonly host: string; readonly port: number },
  env: NodeJS.ProcessEnv = process.env,
  variable = 'PORT'
): Promise<ListeningSocket> {
  if (env.LISTEN_PID === String(process.pid) && Number(env.LISTEN_FDS) >= 1) return takePassed()
  const { address, family } = await resolve(host)
  const handle = createServerHandle(address, port, family)
  // libuv reports an address in use only when the socket is used.
  const failure = typeof handle === 'number' ? handle : handle.getsockname({})
  if (typeof handle === 'number' || failure !== 0) throw portFault(host, port, getSystemErrorName(failure), variable)
  return {
    handle,
    url: urlOf(handle, host),
    close: () => handle.close()
  }
}

/** Binds PORT, and MANAGEMENT_PORT if it is set. Throws like openSocket. */
export async function openSockets({ host, port, managementPort }: SocketSettings): Promise<Sockets> {
  const service = await openSocket({ host, port })
  if (managementPort === undefined) return { service }
  try {
    // A socket that systemd has passed belongs to the service.
    return { service, management: await openSocket({ host, port: managementPort }, {}, 'MANAGEMENT_PORT') }
  } catch (error) {
    service.close()
    throw error
  }
}

/** The error for a port that cannot be bound. `name` is the system's error, such as EADDRINUSE; `variable` the setting at fault. */
export function portFault(host: string, port: number, name: string, variable = 'PORT'): ConfigError {
  const reason = name === 'EADDRINUSE' ? 'the address is already in use' : name
  return new ConfigError([`${variable}: cannot listen on ${host} port ${port}: ${reason}.`])
}

/** systemd keeps the socket open too: connections that are not accepted wait for the next start. */
function takePassed(): ListeningSocket {
  const handle = createServerHandle(null, 0, 4, firstPassed)
  // A Unix socket does not have this method, and has no address to compare with FORWARDED_ALLOW_IPS.
  if (typeof handle === 'number' || typeof handle.getsockname !== 'function') {
    throw new ConfigError([`LISTEN_FDS: expected file descriptor ${firstPassed} to be a TCP socket.`])
  }
  return { handle, url: urlOf(handle), close: () => handle.close() }
}

/** `host` is shown as configured; by default the socket's own address. */
function urlOf(handle: TcpHandle, host?: string): string {
  const bound: Partial<AddressInfo> = {}
  handle.getsockname(bound)
  const shown = host ?? bound.address ?? ''
  // isIPv6 is not used, because compiling its regular expression adds five milliseconds to a start. A name contains no colon.
  return `http://${shown.includes(':') ? `[${shown}]` : shown}:${bound.port}`
}

async function resolve(host: string): Promise<{ address: string; family: 4 | 6 }> {
  try {
    const { address, family } = await lookup(host)
    return { address, family: family === 6 ? 6 : 4 }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new ConfigError([
      `HOST: got "${host}", expected an address of this host or a name that resolves to one (${code}).`
    ])
  }
}
