import { lookup } from 'node:dns/promises'
import net, { type AddressInfo, isIPv6 } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { ConfigError } from '../config/load.ts'

/** A bound TCP socket, as processes hand it to each other: `net.Server.listen` takes it. */
export interface ListeningSocket {
  readonly handle: object
  /** http://127.0.0.1:8000 */
  readonly url: string
  close(): void
}

/** Node's own wrap of a socket. */
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

/**
 * Binds the address that all workers accept on. The socket of systemd's socket activation (LISTEN_FDS) is taken instead
 * where one was passed. Throws ConfigError naming PORT or HOST when it cannot be had.
 */
export async function openSocket(
  { host, port }: { readonly host: string; readonly port: number },
  env: NodeJS.ProcessEnv = process.env
): Promise<ListeningSocket> {
  const isPassed = env.LISTEN_PID === String(process.pid) && Number(env.LISTEN_FDS) >= 1
  const { address, family } = isPassed ? { address: null, family: 4 as const } : await resolve(host)
  const handle = isPassed ? createServerHandle(address, -1, family, 3) : createServerHandle(address, port, family)
  const bound: Partial<AddressInfo> = {}
  // libuv tells that an address is in use only when the socket is looked at.
  const failure = typeof handle === 'number' ? handle : handle.getsockname(bound)
  if (typeof handle === 'number' || failure !== 0) {
    const name = getSystemErrorName(failure)
    const reason = name === 'EADDRINUSE' ? 'something else listens there already' : name
    throw new ConfigError([`PORT: cannot listen on ${host} port ${port}, ${reason}.`])
  }
  const shown = isPassed ? (bound.address ?? host) : host
  return {
    handle,
    url: `http://${isIPv6(shown) ? `[${shown}]` : shown}:${bound.port}`,
    close: () => handle.close()
  }
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
