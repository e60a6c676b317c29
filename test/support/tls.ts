/** Certificates of a test's own, made with openssl, and servers that speak TLS. */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import pg from 'pg'
import { findEngines, freePort, openEnclosure, untilReady, whyMissing } from './engines.ts'
import type { PostgresServer } from './postgres.ts'
import { type RedisServer, startRedis } from './redis.ts'

/** Paths of a key and its certificate, in PEM. */
export type KeyPair = { readonly key: string; readonly certificate: string }

export type Certificates = {
  /** The unknown authority that signed `server`. */
  readonly authority: KeyPair
  /** For 127.0.0.1 and localhost. */
  readonly server: KeyPair
  /** For another host, signed by the authority. */
  readonly elsewhere: KeyPair
  /** Signed by itself, as Heroku's Redis has it. */
  readonly selfSigned: KeyPair
  remove(): void
}

/** Makes the certificates, good for two days, in a directory of their own. */
export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-tls-'))
  const make = (name: string, subject: string, options: readonly string[]): KeyPair => {
    const pair = { key: join(folder, `${name}.key`), certificate: join(folder, `${name}.crt`) }
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', pair.key]
    const common = ['req', '-x509', ...newKey, '-days', '2', '-subj', `/CN=${subject}`, '-out', pair.certificate]
    execFileSync('openssl', [...common, ...options], { stdio: 'pipe' })
    return pair
  }
  const authority = make('authority', 'A private authority', [])
  const signed = ['-CA', authority.certificate, '-CAkey', authority.key]
  const names = (text: string) => ['-addext', `subjectAltName=${text}`, '-addext', 'basicConstraints=critical,CA:FALSE']
  return {
    authority,
    server: make('server', 'redis', [...signed, ...names('IP:127.0.0.1,DNS:localhost')]),
    elsewhere: make('elsewhere', 'redis', [...signed, ...names('DNS:redis.example')]),
    selfSigned: make('self-signed', 'redis', []),
    remove: () => rmSync(folder, { recursive: true, force: true })
  }
}

/** The settings that make it speak TLS with `pair` on `port`; clients need no certificate. */
const tlsSettings = (port: number, { authority }: Certificates, pair: KeyPair): [name: string, value: string][] => [
  ['tls-port', `${port}`],
  ['tls-key-file', pair.key],
  ['tls-cert-file', pair.certificate],
  ['tls-ca-cert-file', authority.certificate],
  ['tls-auth-clients', 'no']
]

export type TlsRedis = RedisServer & {
  readonly tlsPort: number
  /** Without a scheme: `127.0.0.1:PORT`. */
  readonly host: string
}

/** A Redis that listens with TLS on 127.0.0.1, and in the clear on its Unix socket only. */
export async function startTlsRedis(
  certificates: Certificates,
  pair: KeyPair,
  args: readonly string[] = []
): Promise<TlsRedis> {
  const tlsPort = await freePort()
  const tls = tlsSettings(tlsPort, certificates, pair).flatMap(([name, value]) => [`--${name}`, value])
  const server = await startRedis({ args: [...tls, ...args] })
  return { ...server, tlsPort, host: `127.0.0.1:${tlsPort}` }
}

export type TlsSentinel = { readonly port: number; stop(): Promise<void> }

/** One Sentinel that speaks TLS only, to its clients and to the master on `masterPort`; ready when it sees that one. */
export async function startTlsSentinel(certificates: Certificates, masterPort: number): Promise<TlsSentinel> {
  const command = findEngines().redis
  if (command === undefined) throw new Error(whyMissing('redis'))
  const [port, enclosure] = [await freePort(), await openEnclosure('sentinel', 'SIGKILL')]
  const file = join(enclosure.directory, 'sentinel.conf')
  const socket = join(enclosure.directory, 's')
  const settings = [
    ...tlsSettings(port, certificates, certificates.server),
    ['port', '0'],
    ['unixsocket', socket],
    ['dir', enclosure.directory],
    // Also for a Sentinel's own connections.
    ['tls-replication', 'yes'],
    ['sentinel', `monitor mymaster 127.0.0.1 ${masterPort} 1`]
  ]
  writeFileSync(file, settings.map((setting) => `${setting.join(' ')}\n`).join(''))
  const child = enclosure.spawn(command, [file, '--sentinel'])
  const redis = new Redis(socket, { retryStrategy: () => 50, maxRetriesPerRequest: null })
  redis.on('error', () => {})
  const seesMaster = async () => {
    const flat = (await redis.call('SENTINEL', 'MASTER', 'mymaster')) as string[]
    return flat[flat.indexOf('flags') + 1] === 'master' && flat[flat.indexOf('link-pending-commands') + 1] === '0'
  }
  try {
    await untilReady(child, enclosure, seesMaster)
  } catch (error) {
    await enclosure.close()
    throw error
  } finally {
    redis.disconnect()
  }
  return { port, stop: () => enclosure.close() }
}

/**
 * Restarts a private PostgreSQL so that it speaks TLS with `pair`; with `isDemanded` it refuses TCP connections without, as
 * Heroku's does not.
 */
export async function turnOnTls(server: PostgresServer, pair: KeyPair, { isDemanded = false } = {}): Promise<void> {
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  const { rows } = await client.query('SHOW data_directory')
  await client.query('ALTER SYSTEM SET ssl = on')
  await client.end()
  const folder: string = rows[0].data_directory
  const { uid, gid } = statSync(folder)
  for (const [name, file] of [
    ['server.key', pair.key],
    ['server.crt', pair.certificate]
  ] as const) {
    const copy = join(folder, name)
    copyFileSync(file, copy)
    // PostgreSQL refuses a key that others may read.
    chmodSync(copy, 0o600)
    chownSync(copy, uid, gid)
  }
  const access = join(folder, 'pg_hba.conf')
  if (isDemanded) writeFileSync(access, readFileSync(access, 'utf8').replace(/^host\b/gm, 'hostssl'))
  await server.restart()
}
