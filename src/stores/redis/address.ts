/** What a REDIS_URL says. */
export interface Address {
  readonly kind: 'single' | 'socket' | 'sentinel' | 'cluster'
  readonly tls: boolean
  readonly nodes: readonly { readonly host: string; readonly port: number }[]
  readonly username: string | undefined
  readonly password: string | undefined
  readonly db: number
  /** The master's name, as the Sentinels know it. */
  readonly name: string
  /** The file of a Unix socket. */
  readonly path: string
}

const shape = /^redis(s?)(?:\+(sentinel|cluster))?:\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^/?]*)(\/[^?]*)?$/

/**
 * Reads a REDIS_URL:
 *   redis://user:password@host:port/db            one server; rediss:// with TLS
 *   redis:///path/to/socket                       one server, by its Unix socket
 *   redis+sentinel://user:password@host:port,host:port/master-name/db
 *   redis+cluster://user:password@host:port,host:port
 * User and password are those of the data servers, percent-encoded. Throws Error without a word of the URL, which holds them.
 */
export function parseAddress(url: string): Address {
  const match = shape.exec(url)
  if (match === null) throw new Error('the URL has not the form redis://user:password@host:port/db')
  const [, secure, scheme = 'single', username = '', password = '', hosts = '', path = ''] = match
  const kind = hosts === '' ? 'socket' : (scheme as Address['kind'])
  const parts = path.split('/').slice(1)
  const [name = '', db = ''] = kind === 'sentinel' ? parts : ['', parts[0]]
  return {
    kind,
    tls: secure === 's',
    nodes: hosts === '' ? [] : hosts.split(',').map((host) => parseNode(host, kind === 'sentinel' ? 26_379 : 6379)),
    username: username === '' ? undefined : decodeURIComponent(username),
    password: password === '' ? undefined : decodeURIComponent(password),
    db: kind === 'socket' ? 0 : Number(db) || 0,
    name: name === '' ? 'mymaster' : name,
    path
  }
}

function parseNode(text: string, defaultPort: number): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text)
  if (match === null) throw new Error('the URL names a host that cannot be read')
  return { host: match[1] ?? match[2] ?? '', port: match[3] === undefined ? defaultPort : Number(match[3]) }
}
