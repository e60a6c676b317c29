import { isIPv6 } from 'node:net'

/** A parsed REDIS_URL. */
export interface RedisAddress {
  readonly kind: 'single' | 'socket' | 'sentinel' | 'cluster'
  readonly tls: boolean
  readonly nodes: readonly { readonly host: string; readonly port: number }[]
  readonly username: string | undefined
  readonly password: string | undefined
  readonly db: number
  /** IP version of the addresses to connect to; 0 means either. */
  readonly family: 0 | 4 | 6
  /** The name of the master in the configuration of the Sentinels. */
  readonly name: string
  /** The path of a Unix socket. */
  readonly path: string
}

const shape =
  /^redis(s?)(?:\+(sentinel|cluster))?:\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?([^/?#@]*)(\/[^?#]*)?(?:\?([^#]*))?$/

/**
 * Parses a REDIS_URL:
 *   redis://user:password@host:port/db            one server; rediss:// with TLS
 *   redis:///path/to/socket                       one server, by its Unix socket
 *   redis+sentinel://user:password@host:port,host:port/master-name/db
 *   redis+cluster://user:password@host:port,host:port
 * with `?family=4` or `6`, and `?db=1` if the path does not contain the database. User and password are those of the data
 * servers, percent-encoded.
 *
 * Throws an Error whose message completes "REDIS_URL: " and contains no part of the URL that could be a password.
 */
export function parseRedisUrl(url: string): RedisAddress {
  if (/\0|%00/.test(url)) throw new Error('got %00, expected text without the null character')
  const match = shape.exec(url)
  // A slash in a password would otherwise end the list of hosts.
  if (match === null || match[6]?.includes('@'))
    throw new Error('expected redis://user:password@host:port/db, with @, /, ? and # in a password percent-encoded')
  const [, secure, scheme = 'single', username, password, hosts = '', path = '', query = ''] = match
  const kind = scheme === 'single' && hosts === '' ? 'socket' : (scheme as RedisAddress['kind'])
  const { family, db: queried } = parseQuery(query)
  const [name, db] = kind === 'socket' ? ['', ''] : parsePath(kind, path)
  if (db !== '' && queried !== undefined) throw new Error('expected the database in the path or as db=, not both')
  return {
    kind,
    tls: secure === 's',
    nodes: kind === 'socket' ? [] : parseNodes(kind, hosts),
    username: decode('user', username),
    password: decode('password', password),
    db: parseDatabase(kind, db === '' ? (queried ?? '') : db),
    family,
    name: name === '' ? 'mymaster' : name,
    path: kind === 'socket' ? parseSocket(secure, path) : path
  }
}

function decode(part: string, text = ''): string | undefined {
  if (text === '') return undefined
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Error(`expected a percent-encoded ${part}: a percent sign in it is written %25`)
  }
}

function parseSocket(secure: string | undefined, path: string): string {
  if (secure === 's') throw new Error('got rediss:// without a host, expected redis:// for a Unix socket')
  if (path.length < 2) throw new Error('expected a host, or the path of a Unix socket')
  return decode('path', path) ?? ''
}

/** The master's name and the database. */
function parsePath(kind: RedisAddress['kind'], path: string): readonly [name: string, db: string] {
  const parts = path.split('/').slice(1)
  const limit = kind === 'sentinel' ? 2 : 1
  if (parts.length > limit && parts.slice(limit).some((part) => part !== ''))
    throw new Error(`expected ${kind === 'sentinel' ? '/master-name/db' : '/db'} and nothing after it`)
  const [first = '', second = ''] = parts
  return kind === 'sentinel' ? [decode('master name', first) ?? '', second] : ['', first]
}

function parseDatabase(kind: RedisAddress['kind'], text: string): number {
  if (!/^\d{0,5}$/.test(text)) throw new Error('expected the database as a number, as in redis://host:6379/0')
  const db = Number(text)
  if (kind === 'cluster' && db !== 0) throw new Error('got a database other than 0, which a Cluster does not have')
  return db
}

function parseQuery(query: string): { readonly family: RedisAddress['family']; readonly db: string | undefined } {
  const parameters = new URLSearchParams(query)
  for (const name of parameters.keys()) {
    if (name !== 'family' && name !== 'db')
      throw new Error(`got the parameter ${showName(name)}, expected only family and db`)
    if (parameters.getAll(name).length > 1) throw new Error(`got the parameter ${name} twice, expected it once`)
  }
  const family = Number(/^(?:ipv)?([046])$/i.exec(parameters.get('family') ?? '0')?.[1]) as RedisAddress['family']
  if (Number.isNaN(family)) throw new Error('got an unknown family, expected family=4, family=6 or family=0 for either')
  return { family, db: parameters.get('db') ?? undefined }
}

/** A parameter's name in a message: one that looks like a name, since anything else may be part of a password. */
export const showName = (name: string): string =>
  /^[a-z][a-z_-]{0,40}$/i.test(name) ? name : 'with an unreadable name'

function parseNodes(kind: RedisAddress['kind'], hosts: string): RedisAddress['nodes'] {
  const nodes = hosts.split(',').map((host) => parseNode(host, kind === 'sentinel' ? 26_379 : 6379))
  if (kind === 'single' && nodes.length > 1)
    throw new Error('got several hosts, expected one (only redis+sentinel:// and redis+cluster:// accept several)')
  return nodes
}

function parseNode(text: string, defaultPort: number): { host: string; port: number } {
  const match = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?$/i.exec(text)
  const [, ip, host = ip, port = defaultPort] = match ?? []
  if (host === undefined || (ip !== undefined && !isIPv6(ip)))
    throw new Error('expected hosts as name, name:port or [IPv6]:port')
  if (Number(port) < 1 || Number(port) > 65_535) throw new Error('expected a port from 1 to 65535')
  return { host, port: Number(port) }
}
