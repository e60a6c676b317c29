/*
 * What a cold start takes beside a bare Fastify process: `npm run build && node dist/bench/boot.js`.
 *
 * All sides start one after the other within each round, so that a machine that is busy is so for all. Keyturn runs one
 * worker and one hasher with its own defaults. Figures are medians of the rounds.
 *   ready    from the spawn to the line that says it listens: then every process is ready, and the first request is served
 *   CPU      that all its processes have used until then, user and system
 *   RSS      of each process, 200 ms later
 *   PSS      of all together: what they share is counted once
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { runKeyturn, serveCommand } from '../test/support/keyturn.ts'
import { startPostgres } from '../test/support/postgres.ts'
import { startRedis } from '../test/support/redis.ts'

const rounds = Number(process.env.ROUNDS ?? 15)

interface Side {
  readonly name: string
  readonly command: readonly [file: string, ...args: string[]]
  readonly env: Record<string, string>
}

interface Figures {
  readonly readyMs: number
  readonly cpuMs: number
  /** MB, by the process's title. */
  readonly rss: Readonly<Record<string, number>>
  readonly pss: number
}

/** Milliseconds in one tick of /proc/PID/stat: 100 a second, on every Linux that Node runs on. */
const tickMs = 10

const read = (pid: number, file: string): string => readFileSync(`/proc/${pid}/${file}`, 'utf8')

/** The process and those it has started. */
function family(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) => read(pid, `task/${task}/children`).split(' '))
  return [pid, ...children.filter((child) => child !== '').flatMap((child) => family(Number(child)))]
}

/** The name may contain blanks, and stands in brackets. User and system time are fields 14 and 15. Source: proc(5). */
function cpuMsOf(pid: number): number {
  const fields = read(pid, 'stat')
    .replace(/^.*\) /s, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tickMs
}

const megabytes = (text: string, name: string): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1]) / 1024

/** `keyturn: worker` -> worker. A bare process, which serves, counts as one. */
const titleOf = (pid: number): string => /^keyturn: (\w+)/.exec(read(pid, 'cmdline'))?.[1] ?? 'worker'

async function listening(child: ChildProcess): Promise<void> {
  let text = ''
  for await (const chunk of child.stdout ?? []) {
    text += chunk
    if (text.includes('listens on')) return
  }
  throw new Error(`it has not started: ${text}`)
}

async function measure({ command: [file, ...args], env }: Side): Promise<Figures> {
  const began = performance.now()
  const child = spawn(file, args, {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  await listening(child)
  const readyMs = performance.now() - began
  const pids = family(child.pid ?? 0)
  const cpuMs = pids.map(cpuMsOf).reduce((sum, each) => sum + each)
  await delay(200)
  const rss = Object.fromEntries(pids.map((pid) => [titleOf(pid), megabytes(read(pid, 'status'), 'VmRSS')]))
  const pss = pids.map((pid) => megabytes(read(pid, 'smaps_rollup'), 'Pss')).reduce((sum, each) => sum + each)
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
  return { readyMs, cpuMs, rss, pss }
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

const [postgres, redis] = [await startPostgres({ tcp: true }), await startRedis({ tcp: true })]
const folder = mkdtempSync(join(tmpdir(), 'keyturn-bench-'))
try {
  const real = {
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    KEY_ENCRYPTION_SECRET: 'a secret of benchmarks that is long enough to seal keys'
  }
  const { code, stderr } = await runKeyturn(['migrate'], real)
  if (code !== 0) throw new Error(stderr)
  const common = { PORT: '0', WEB_CONCURRENCY: '1' }
  const bare = fileURLToPath(new URL('./bare-fastify.js', import.meta.url))
  const sides: readonly Side[] = [
    { name: 'bare Fastify', command: [process.execPath, bare], env: {} },
    { name: 'embedded', command: serveCommand, env: { ...common, DATA_DIR: folder } },
    { name: 'PostgreSQL and Redis', command: serveCommand, env: { ...common, ...real } }
  ]
  const figures = new Map<Side, Figures[]>(sides.map((side) => [side, []]))
  // The first round makes tables and keys, and fills the caches of the file system.
  for (let round = 0; round <= rounds; round++)
    for (const side of sides) {
      const each = await measure(side)
      if (round > 0) figures.get(side)?.push(each)
    }

  console.log(`Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model}, ${rounds} rounds`)
  const columns = ['ready ms', '(least)', 'CPU ms', 'RSS MB arbiter', 'worker', 'hasher', 'PSS MB']
  const line = (name: string, cells: readonly string[]): string =>
    [name.padEnd(20), ...cells.map((cell, at) => cell.padStart(columns[at]?.length ?? 0))].join('  ')
  console.log(line('', columns))
  for (const [{ name }, rows] of figures) {
    const of = (figure: (row: Figures) => number | undefined): string => {
      const values = rows.flatMap((row) => figure(row) ?? [])
      return values.length === 0 ? '' : median(values).toFixed(0)
    }
    const least = Math.min(...rows.map(({ readyMs }) => readyMs)).toFixed(0)
    const rss = ['arbiter', 'worker', 'hasher'].map((title) => of((row) => row.rss[title]))
    console.log(
      line(name, [of((row) => row.readyMs), `(${least})`, of((row) => row.cpuMs), ...rss, of((row) => row.pss)])
    )
  }
} finally {
  await Promise.all([postgres.stop(), redis.stop()])
  rmSync(folder, { recursive: true, force: true })
}
