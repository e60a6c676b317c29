/** PostgreSQL servers for tests. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import type { Test } from 'tap'
import {
  type Account,
  type Enclosure,
  endProcess,
  exited,
  findEngines,
  freePort,
  openEnclosure,
  untilReady,
  whyMissing
} from './engines.ts'

/** The variable that names the server of a run: test/run.ts. */
export const sharedPostgres = 'KEYTURN_TEST_POSTGRES'

export type PostgresOptions = {
  /** A server that the test may kill, or whose settings it changes: never the one that the files of a run share. */
  readonly own?: boolean
  /** Listen on a free TCP port of 127.0.0.1 as well, and have `postgres://keyturn@127.0.0.1:PORT/...` URLs. */
  readonly tcp?: boolean
}

export type PostgresServer = {
  /** An empty database; `postgres://keyturn@/postgres?host=DIRECTORY` unless `tcp`. It survives a restart. */
  readonly url: string
  /** False when others use the server too: then `kill` and `restart` throw. */
  readonly isPrivate: boolean
  /** Makes another empty database, in 0.1 s, and resolves with its URL. It goes when the server is stopped. */
  createDatabase(): Promise<string>
  /**
   * Sends a signal and resolves when the server is gone; at once for SIGSTOP and SIGCONT, which hold and let through
   * new connections. SIGQUIT, the default, is a crash: connections break, the next start recovers. SIGKILL is not
   * offered, because the server's children outlive it and then keep a new one from starting.
   */
  kill(signal?: 'SIGQUIT' | 'SIGINT' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /** Ends the server if it runs, and starts it again at the same address with its databases. */
  restart(): Promise<void>
  /** Ends the server and removes its directory; drops what was made on a given server. May be called twice. */
  stop(): Promise<void>
}

/**
 * Starts a private PostgreSQL server, in about a second, and resolves when it accepts connections. Its user `keyturn`
 * is a superuser without a password. In a run of test/run.ts it is the server of the run unless `own`, with a database of its
 * own. With TEST_DATABASE_URL set it is that server, whose user must be allowed to
 * create databases. Throws when PostgreSQL is not installed, with what it wrote when it does not start.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const given = process.env.TEST_DATABASE_URL || (options.own ? undefined : process.env[sharedPostgres])
  return given ? await givenPostgres(given) : await privatePostgres(options)
}

async function privatePostgres({ tcp = false }: PostgresOptions): Promise<PostgresServer> {
  const programs = findEngines().postgres
  if (programs === undefined) throw new Error(whyMissing('postgres'))
  const enclosure = await openEnclosure('pg', 'SIGQUIT', serverAccount())
  const port = tcp ? await freePort() : undefined
  const start = async () => {
    const child = enclosure.spawn(programs.postgres, serverArguments(enclosure.directory, port))
    await untilReady(child, enclosure, () => saysReady(enclosure, child.pid))
    return child
  }
  const boot = async () => {
    await initialise(programs.initdb, enclosure)
    return await start()
  }
  let child = await boot().catch(async (error) => {
    await enclosure.close()
    throw error
  })
  const url =
    port === undefined
      ? `postgres://keyturn@/postgres?host=${enclosure.directory}`
      : `postgres://keyturn@127.0.0.1:${port}/postgres`
  return {
    url,
    isPrivate: true,
    createDatabase: () => createDatabase(url),
    kill: (signal = 'SIGQUIT') => endProcess(child, signal),
    async restart() {
      await endProcess(child, 'SIGINT')
      child = await start()
    },
    stop: () => enclosure.close()
  }
}

/** PostgreSQL refuses to run as root: then it runs as the user `postgres`, which its package makes. */
function serverAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

async function initialise(initdb: string, enclosure: Enclosure): Promise<void> {
  const child = enclosure.spawn(initdb, [
    ...['-D', join(enclosure.directory, 'd'), '-U', 'keyturn', '-A', 'trust', '--no-sync'],
    ...['-E', 'UTF8', '--locale=C.UTF-8']
  ])
  if ((await exited(child)) !== 0) throw new Error(`initdb failed:\n${enclosure.log()}`)
}

function serverArguments(directory: string, port: number | undefined): string[] {
  const listen = port === undefined ? ['listen_addresses='] : ['listen_addresses=127.0.0.1', `port=${port}`]
  // Without fsync a write survives the server's end, not the machine's.
  const settings = [...listen, 'fsync=off', 'full_page_writes=off', 'shared_buffers=16MB']
  return ['-D', join(directory, 'd'), '-k', directory, ...settings.flatMap((setting) => ['-c', setting])]
}

/**
 * PostgreSQL writes its pid and, in the eighth line, its state into a file that pg_ctl waits for too. The pid tells it
 * from the file that a killed server left behind.
 */
function saysReady({ directory }: Enclosure, pid: number | undefined): boolean {
  const path = join(directory, 'd', 'postmaster.pid')
  if (!existsSync(path)) return false
  const lines = readFileSync(path, 'utf8').split('\n')
  return lines[0] === `${pid}` && lines[7]?.trim() === 'ready'
}

async function givenPostgres(given: string): Promise<PostgresServer> {
  const made: string[] = []
  const create = async () => {
    const url = await createDatabase(given)
    made.push(url)
    return url
  }
  const unavailable = async () => {
    throw new Error('others use this server: a test that kills or restarts one asks for its own')
  }
  return {
    url: await create(),
    isPrivate: false,
    createDatabase: create,
    kill: unavailable,
    restart: unavailable,
    async stop() {
      for (const url of made.splice(0)) await run(given, `DROP DATABASE IF EXISTS ${databaseOf(url)} WITH (FORCE)`)
    }
  }
}

async function createDatabase(server: string): Promise<string> {
  const name = `keyturn_test_${randomBytes(8).toString('hex')}`
  await run(server, `CREATE DATABASE ${name} ENCODING 'UTF8' TEMPLATE template0`)
  return server.replace(DATABASE_IN_URL, `$<before>/${name}$<query>`)
}

// new URL() refuses the empty host of `postgres://keyturn@/db?host=...`, so the name is found by its place.
const DATABASE_IN_URL = /^(?<before>[a-z]+:\/\/[^/?]*)(?:\/(?<name>[^?]*))?(?<query>(?:\?.*)?)$/

function databaseOf(url: string): string {
  return DATABASE_IN_URL.exec(url)?.groups?.name ?? ''
}

/** A role without rights that may log in, and the URL by which it reaches the database at `url`. It is dropped with `t`. */
export async function createRole(t: Pick<Test, 'teardown'>, url: string): Promise<{ role: string; url: string }> {
  const role = `restricted_${randomBytes(6).toString('hex')}`
  await run(url, `CREATE ROLE ${role} LOGIN`)
  t.teardown(() => run(url, `DROP OWNED BY ${role}; DROP ROLE ${role}`))
  return { role, url: `${url}${url.includes('?') ? '&' : '?'}user=${role}` }
}

async function run(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
