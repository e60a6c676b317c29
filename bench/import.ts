/*
 * What it takes to import users: `npm run build && node dist/bench/import.js [USERS]`, 1,000,000 unless said. Linux.
 *
 * A dump of that many users, as Django's dumpdata writes it (400 bytes a user, on one line), goes through the real command into
 * an empty store, a second time into the full one, and out again. Reported are users in a second of the clock, from the
 * process's start to its end, the CPU seconds of the process, which a busy machine changes less, and the most memory it ever
 * had (VmHWM). PostgreSQL is a private one over a socket, without
 * fsync, or the one that TEST_DATABASE_URL names.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, createWriteStream, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { readDump } from '../src/users/dump/read.ts'
import { aDigest, aDjangoUser } from '../test/support/dump.ts'
import { main, runKeyturn, testSettings } from '../test/support/keyturn.ts'
import { startPostgres } from '../test/support/postgres.ts'

const count = Number(process.argv[2] ?? 1_000_000)

/** Bytes. What the whole process may have, however large the dump is. */
const maxMemory = 300 * 1024 * 1024

const folder = mkdtempSync(join(tmpdir(), 'keyturn-bench-'))

/** Names in no order, as in life: each lands on another page of the index. */
function* dumpPieces(): Generator<string> {
  yield '['
  for (let id = 1; id <= count; id++) {
    const username = `user_${((id * 2_654_435_761) % 4_294_967_296).toString(36)}_${id}`
    yield `${id === 1 ? '' : ', '}${JSON.stringify(aDjangoUser(id, { username, password: aDigest }))}`
  }
  yield ']'
}

interface Measured {
  readonly seconds: number
  /** Seconds of CPU, of all threads. */
  readonly cpu: number
  /** Bytes. */
  readonly memory: number
}

/** Runs `keyturn ...args` to its end, its standard output into a file. Throws when it fails. */
async function measure(args: readonly string[], env: Record<string, string>, output: string): Promise<Measured> {
  const began = performance.now()
  const child = spawn(process.execPath, [main, ...args], {
    env: testSettings(env),
    stdio: ['ignore', openSync(output, 'w'), 'pipe']
  })
  let printed = ''
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    printed += text
  })
  let used = { cpu: 0, memory: 0 }
  const watch = setInterval(() => {
    used = usedBy(child.pid ?? 0) ?? used
  }, 20)
  const [code] = await once(child, 'close')
  clearInterval(watch)
  if (code !== 0) throw new Error(`keyturn ${args.join(' ')} ended with ${code}: ${printed}`)
  return { seconds: (performance.now() - began) / 1000, ...used }
}

/** What a process has used so far: Linux counts CPU in hundredths of a second. Undefined when it has ended. */
function usedBy(pid: number): Omit<Measured, 'seconds'> | undefined {
  try {
    const memory = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ').slice(13, 15)
    // A process that has ended and is not yet waited for has no memory any more.
    return memory === undefined
      ? undefined
      : { cpu: (Number(user) + Number(system)) / 100, memory: Number(memory) * 1024 }
  } catch {
    return undefined
  }
}

let isWithin = true

function report(what: string, { seconds, cpu, memory }: Measured): void {
  if (memory > maxMemory) isWithin = false
  const columns = [
    what.padEnd(26),
    `${seconds.toFixed(1).padStart(7)} s`,
    `${Math.round(count / seconds)
      .toLocaleString('en')
      .padStart(9)}/s`,
    `${cpu.toFixed(1).padStart(7)} s`,
    `${Math.round(memory / 1024 / 1024)
      .toString()
      .padStart(5)} MiB`
  ]
  console.log(columns.join(''))
}

async function measureStore(name: string, env: Record<string, string>, dump: string): Promise<void> {
  const migrated = await runKeyturn(['migrate'], env)
  if (migrated.code !== 0) throw new Error(migrated.stderr)
  const exported = join(folder, 'export')
  report(`${name}, dry run`, await measure(['users', 'import', dump, '--dry-run'], env, '/dev/null'))
  report(`${name}, import`, await measure(['users', 'import', dump], env, '/dev/null'))
  report(`${name}, import again`, await measure(['users', 'import', dump], env, '/dev/null'))
  report(`${name}, export`, await measure(['users', 'export'], env, exported))
}

async function measureReading(dump: string): Promise<void> {
  const [began, before] = [performance.now(), process.cpuUsage()]
  let rows = 0
  for await (const _ of readDump(createReadStream(dump), { format: undefined, headerFault: () => undefined })) rows++
  if (rows !== count) throw new Error(`${rows} rows of ${count}`)
  const { user, system } = process.cpuUsage(before)
  const memory = process.resourceUsage().maxRSS * 1024
  report('reading alone', { seconds: (performance.now() - began) / 1000, cpu: (user + system) / 1e6, memory })
}

try {
  const dump = join(folder, 'dump.json')
  await pipeline(Readable.from(dumpPieces()), createWriteStream(dump))
  console.log(
    `Node ${process.version}, ${cpus()[0]?.model}, ${count.toLocaleString('en')} users, ${Math.round(statSync(dump).size / 1024 / 1024)} MiB`
  )
  console.log('                            clock     users       CPU   memory')
  await measureReading(dump)
  await measureStore('embedded', { DATA_DIR: join(folder, 'data') }, dump)
  const server = await startPostgres()
  try {
    const env = { DATABASE_URL: server.url, DATA_DIR: join(folder, 'none'), KEY_ENCRYPTION_SECRET: 'x'.repeat(32) }
    await measureStore('PostgreSQL', env, dump)
  } finally {
    await server.stop()
  }
  if (!isWithin) throw new Error(`more memory than ${maxMemory / 1024 / 1024} MiB`)
} finally {
  rmSync(folder, { recursive: true })
}
