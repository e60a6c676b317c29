import { lookup } from 'node:dns/promises'
import net, { type AddressInfo } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/settings.ts'

/** A bound TCP socket, as processes hand it to each other: `net.Server.listen` takes it. */
export interface ListeningSocket {
  readonly handle: object
  /** http://127.0.0.1:8000 */
  readonly url: string
  close(): void
}

type SocketSettings = Readonly<Pick<Config, 'host' | 'port' | 'managementPort'>>

/** What a service listens on. */
export interface Sockets {
  readonly service: ListeningSocket
  readonly management?: ListeningSocket
}

/** Node's own wrap of a TCP socket. */
interface TcpHandle {
  getsockname(out: Partial<AddressInfo>): number
  close(): void
}

/**
 * What node:cluster itself calls to bind in the primary process: undocumented, and the same in Node 20 to 26. It
 * answers with a number where it fails. Of five ways to share a port this is the only one that lost nothing in a reload
 * or at a worker's death and that notices a port in use.
 */
const { _createServerHandle: createServerHandle } = net as unknown as {
  _createServerHandle(address: string | null, port: number, family: 4 | 6, fd?: number): TcpHandle | number
}

/** Where systemd puts the first socket that it passes. Source: sd_listen_fds(3). */
const firstPassed = 3

/**
 * Binds the address that all workers accept on. The socket of systemd's socket activation (LISTEN_FDS) is taken instead
 * where one was passed. Throws ConfigError naming PORT, HOST or LISTEN_FDS when it cannot be had.
 */
export async function openSocket(
  { host, port }: { readonly host: string; readonly port: number },
  env: NodeJS.ProcessEnv = process.env,
  variable = 'PORT'
): Promise<ListeningSocket> {
  if (env.LISTEN_PID === String(process.pid) && Number(env.LISTEN_FDS) >= 1) return takePassed()
  const { address, family } = await resolve(host)
  const handle = createServerHandle(address, port, family)
  // libuv tells that an address is in use only when the socket is looked at.
  const failure = typeof handle === 'number' ? handle : handle.getsockname({})
  if (typeof handle === 'number' || failure !== 0) throw portFault(host, port, getSystemErrorName(failure), variable)
  return {
    handle,
    url: urlOf(handle, host),
    close: () => handle.close()
  }
}

/** The socket of the service, and that of MANAGEMENT_PORT, where there is one. Throws as openSocket. */
export async function openSockets({ host, port, managementPort }: SocketSettings): Promise<Sockets> {
  const service = await openSocket({ host, port })
  if (managementPort === undefined) return { service }
  try {
    // What systemd has passed is the service's.
    return { service, management: await openSocket({ host, port: managementPort }, {}, 'MANAGEMENT_PORT') }
  } catch (error) {
    service.close()
    throw error
  }
}

/** The port cannot be had. `name` is the system's word for why, as EADDRINUSE; `variable` the setting that asks for it. */
export function portFault(host: string, port: number, name: string, variable = 'PORT'): ConfigError {
  const reason = name === 'EADDRINUSE' ? 'something else listens there already' : name
  return new ConfigError([`${variable}: cannot listen on ${host} port ${port}, ${reason}.`])
}

/** systemd keeps its own hold of the socket: what is not accepted waits there for the next start. */
function takePassed(): ListeningSocket {
  const handle = createServerHandle(null, 0, 4, firstPassed)
  // A Unix socket has no such method, and no address that X-Forwarded-For could be believed from.
  if (typeof handle === 'number' || typeof handle.getsockname !== 'function') {
    throw new ConfigError([`LISTEN_FDS: file descriptor ${firstPassed} is something else, expected a TCP socket.`])
  }
  return { handle, url: urlOf(handle), close: () => handle.close() }
}

/** `host` as it was asked for; by default what the socket says. */
function urlOf(handle: TcpHandle, host?: string): string {
  const bound: Partial<AddressInfo> = {}
  handle.getsockname(bound)
  const shown = host ?? bound.address ?? ''
  // Not isIPv6, whose regular expression takes five milliseconds of a start to be made. A name has no colon.
  return `http://${shown.includes(':') ? `[${shown}]` : shown}:${bound.port}`
}

async function resolve(host: string): Promise<{ address: string; family: 4 | 6 }> {
  try {
    const { address, family } = await lookup(host)
    return { address, family: family === 6 ? 6 : 4 }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new ConfigError([`HOST: got "${host}", expected an address of this host or a name that has one (${code}).`])
  }
}
