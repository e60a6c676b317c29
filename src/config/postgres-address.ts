import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { showName } from './redis-address.ts'

/** The options of a DATABASE_URL, beyond those that pg reads itself. */
export interface PostgresAddress {
  /** For pg, with the effective TLS mode. */
  readonly connectionString: string
  /** Whole seconds to wait for a connection; undefined if the URL has no value. */
  readonly connectTimeout: number | undefined
}

const text = /^[^\0]+$/s
const milliseconds = /^\d{1,9}$/

/** The parameters that this service and pg support. pg would pass any other one to its own code as an option. */
const parameters: Readonly<Record<string, { readonly values: RegExp; readonly wants: string }>> = {
  host: { values: /^[^,\s]+$/, wants: 'one host, or the folder of a Unix socket' },
  port: { values: /^[1-9]\d{0,4}$/, wants: 'a port' },
  user: { values: text, wants: 'a text' },
  password: { values: text, wants: 'a text' },
  application_name: { values: text, wants: 'a text' },
  fallback_application_name: { values: text, wants: 'a text' },
  options: { values: text, wants: 'a text' },
  client_encoding: { values: /^utf-?8$/i, wants: 'UTF8' },
  sslmode: { values: text, wants: 'a mode' },
  sslrootcert: { values: text, wants: 'a file' },
  sslcert: { values: text, wants: 'a file' },
  sslkey: { values: text, wants: 'a file' },
  sslnegotiation: { values: /^(postgres|direct)$/, wants: 'postgres or direct' },
  ssl: { values: /^(true|1|false|0)$/, wants: 'true or false' },
  uselibpqcompat: { values: /^(true|false)$/, wants: 'true or false' },
  connect_timeout: { values: /^([1-9]|[1-5]\d|60)$/, wants: 'a number of seconds from 1 to 60' },
  statement_timeout: { values: milliseconds, wants: 'a number of milliseconds' },
  lock_timeout: { values: milliseconds, wants: 'a number of milliseconds' },
  idle_in_transaction_session_timeout: { values: milliseconds, wants: 'a number of milliseconds' }
}

/** The TLS modes of PGSSLMODE. `no-verify` is pg's own name for libpq's `require`. */
export const sslModes = ['disable', 'require', 'no-verify', 'verify-ca', 'verify-full'] as const

type SslMode = (typeof sslModes)[number]

/**
 * Parses a DATABASE_URL; `sslmode` (PGSSLMODE) takes precedence over the one in it. The modes are those of libpq: `require`
 * encrypts and accepts any certificate, such as Heroku's self-signed one, unless sslrootcert is set. libpq's `prefer` and
 * `allow`, which fall back to no encryption, are refused.
 *
 * Throws an Error whose message completes "DATABASE_URL: " and contains no part of the URL that could be a password.
 */
export function parsePostgresUrl(url: string, sslmode?: SslMode): PostgresAddress {
  checkEncoding(url)
  checkHost(url)
  const given = parseParameters(url.includes('?') ? url.slice(url.indexOf('?') + 1) : '')
  if (url.includes('%00')) throw new Error('got %00, expected text without the null character')
  const fromSsl = { true: 'verify-full', '1': 'verify-full', false: 'disable', '0': 'disable' }[given.get('ssl') ?? '']
  const mode = sslmode ?? parseMode(given.get('sslmode') ?? fromSsl)
  if (mode === 'verify-ca' && !given.has('sslrootcert'))
    throw new Error('got sslmode=verify-ca, expected sslrootcert=FILE with it (or sslmode=verify-full)')
  if (given.get('sslnegotiation') === 'direct' && (mode === undefined || mode === 'disable'))
    throw new Error('got sslnegotiation=direct, expected an sslmode that encrypts with it')
  checkCertificates(given)
  return {
    connectionString: mode === undefined ? url : withMode(url, mode),
    connectTimeout: given.has('connect_timeout') ? Number(given.get('connect_timeout')) : undefined
  }
}

/** Strict, like libpq: pg guesses the meaning of a lone percent sign, and may get a password wrong. */
function checkEncoding(url: string): void {
  if (/[\s\0]/.test(url)) throw new Error('got a URL with white space, expected a space in it as %20')
  if (url.includes('#')) throw new Error('got a URL with a #, expected it as %23')
  try {
    decodeURIComponent(url)
  } catch {
    throw new Error('expected percent-encoded text: a percent sign in a password is written %25')
  }
}

function checkHost(url: string): void {
  const [, authority = '', path = ''] = /^[a-z]+:\/\/([^/?]*)(\/[^?]*)?/.exec(url) ?? []
  if (authority.split('@').length > 2) throw new Error('got more than one @, expected one in a password as %40')
  const host = authority.slice(authority.indexOf('@') + 1)
  if (host.includes(',')) throw new Error('got several hosts, expected one')
  if (path.includes('@')) throw new Error('got a / before the @, expected one in a password as %2F')
  if (path.slice(1).includes('/')) throw new Error('expected /database and nothing after it')
  // The empty host of postgres://user@/name?host=/socket is refused by URL alone.
  const complete = host === '' ? url.replace(`://${authority}`, `://${authority}h`) : url
  if (host.startsWith(':') || !URL.canParse(complete))
    throw new Error('expected postgres://user:password@host:port/database, with special characters percent-encoded')
}

function parseParameters(query: string): ReadonlyMap<string, string> {
  const given = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(query)) {
    const row = Object.hasOwn(parameters, name) ? parameters[name] : undefined
    if (row === undefined)
      throw new Error(`got the parameter ${showName(name)}, expected only ${Object.keys(parameters).join(', ')}`)
    if (given.has(name)) throw new Error(`got the parameter ${name} twice, expected it once`)
    if (!row.values.test(value)) throw new Error(`got an invalid ${name}, expected ${row.wants}`)
    given.set(name, value)
  }
  if (Number(given.get('port') ?? 1) > 65_535) throw new Error('got an invalid port, expected at most 65535')
  return given
}

function parseMode(text: string | undefined): SslMode | undefined {
  const mode = sslModes.find((each) => each === text)
  if (text !== undefined && mode === undefined)
    throw new Error(`got an sslmode that is not supported, expected one of ${sslModes.join(', ')}`)
  return mode
}

/** Files that pg reads when it connects; its own error would not name the file. */
function checkCertificates(given: ReadonlyMap<string, string>): void {
  const { createSecureContext } = process.getBuiltinModule('node:tls')
  const contents = new Map<string, string>()
  for (const name of ['sslrootcert', 'sslcert', 'sslkey']) {
    const file = given.get(name)
    if (file === undefined) continue
    try {
      // pg reads it again, and would wait for the writer of a pipe.
      if (!statSync(file).isFile()) throw new Error('not a file')
      contents.set(name, readFileSync(file, 'utf8'))
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      throw new Error(`expected ${name} to be a file that can be read (${code ?? message})`)
    }
  }
  const [ca, cert, key] = [contents.get('sslrootcert'), contents.get('sslcert'), contents.get('sslkey')]
  if ((cert === undefined) !== (key === undefined)) throw new Error('expected sslcert and sslkey together')
  try {
    if (ca !== undefined) new X509Certificate(ca)
    if (contents.size > 0) createSecureContext({ ...(ca && { ca }), ...(cert && key && { cert, key }) })
  } catch {
    throw new Error(`expected ${[...contents.keys()].join(', ')} to be PEM files, the key without a passphrase`)
  }
}

/** The last of two parameters wins in pg. Without uselibpqcompat, pg treats `require` like `verify-full`. */
const withMode = (url: string, mode: SslMode): string =>
  `${url}${url.includes('?') ? '&' : '?'}sslmode=${mode}&uselibpqcompat=${mode !== 'no-verify'}`
