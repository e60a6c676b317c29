/*
 * What a cold start takes beside a bare Fastify process: `npm run bench -- boot`.
 *
 * All sides start one after the other within each round, so that a machine that is busy is so for all. Keyturn runs one
 * worker and one hasher with its own defaults. Figures are medians of the rounds.
 *   ready    from the spawn to the line that says it listens: then every process is ready, and the first request is served
 *   CPU      that all its processes have used until then, user and system
 *   RSS      of each process, 200 ms later
 *   PSS      of the worker and of all together: what processes share is counted once
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { runKeyturn, serveCommand } from '../test/support/keyturn.ts'
import { startPostgres } from '../test/support/postgres.ts'
import { type Footprint, footprints } from '../test/support/processes.ts'
import { startRedis } from '../test/support/redis.ts'
import { figure } from './measure.ts'

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
  readonly workerPss: number
  readonly pss: number
}

const pssOf = (pid: number): number =>
  Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) / 1024

const sum = (values: readonly number[]): number => values.reduce((total, each) => total + each, 0)

/** A bare process, which serves, counts as a worker. */
const kindOf = ({ title }: Footprint): string => (title === 'other' ? 'worker' : title)

async function listening(child: ChildProcess): Promise<void> {
  let text = ''
  for await (const chunk of child.stdout ?? []) {
    text += chunk
    if (text.includes('listens on')) return
  }
  throw new Error(`it has not started: ${text}`)
}

export async function measureStart({ command: [file, ...args], env }: Side): Promise<Figures> {
  const began = performance.now()
  const child = spawn(file, args, {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  await listening(child)
  const readyMs = performance.now() - began
  const cpuMs = sum(footprints(child.pid ?? 0).map(({ cpu }) => cpu * 1000))
  await delay(200)
  const family = footprints(child.pid ?? 0)
  const rss = Object.fromEntries(family.map((each) => [kindOf(each), each.rss]))
  const pss = sum(family.map(({ pid }) => pssOf(pid)))
  const workerPss = sum(family.filter((each) => kindOf(each) === 'worker').map(({ pid }) => pssOf(pid)))
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
  return { readyMs, cpuMs, rss, workerPss, pss }
}

/* What is installed */

interface Lock {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly devOptional?: boolean }>>
}

const root = fileURLToPath(new URL('../../', import.meta.url))

/** MB of the packages that `npm install --omit=dev` brings, as far as they are for this machine. */
function installedSize(): number {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock
  const folders = Object.entries(packages).filter(([path, { dev, devOptional }]) => path !== '' && !dev && !devOptional)
  return sum(folders.map(([path]) => sizeOf(join(root, path)))) / 2 ** 20
}

/** Bytes of a package, without those in its own node_modules: they are in the lock file themselves. */
function sizeOf(folder: string): number {
  if (!existsSync(folder)) return 0
  const entries = readdirSync(folder, { withFileTypes: true }).filter(({ name }) => name !== 'node_modules')
  return sum(
    entries.map((entry) => {
      const path = join(folder, entry.name)
      return entry.isDirectory() ? sizeOf(path) : lstatSync(path).size
    })
  )
}

/* The comparison */

const columns = ['ready ms', '(least)', 'CPU ms', 'RSS MB arbiter', 'worker', 'hasher', 'PSS MB worker', 'all']

const line = (name: string, cells: readonly string[]): string =>
  [name.padEnd(20), ...cells.map((cell, at) => cell.padStart(columns[at]?.length ?? 0))].join('  ')

function row(name: string, rows: readonly Figures[]): string {
  const of = (pick: (row: Figures) => number | undefined): string => {
    const values = rows.flatMap((each) => pick(each) ?? [])
    return values.length === 0 ? '' : figure(values).median.toFixed(0)
  }
  const least = figure(rows.map(({ readyMs }) => readyMs)).least.toFixed(0)
  const rss = ['arbiter', 'worker', 'hasher'].map((title) => of((each) => each.rss[title]))
  return line(name, [
    of(({ readyMs }) => readyMs),
    `(${least})`,
    of(({ cpuMs }) => cpuMs),
    ...rss,
    of(({ workerPss }) => workerPss),
    of(({ pss }) => pss)
  ])
}

/** Starts each side so many times, and resolves with a table. */
export async function compareStarts(rounds: number): Promise<readonly string[]> {
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
        const each = await measureStart(side)
        if (round > 0) figures.get(side)?.push(each)
      }
    return [
      line('boot', columns),
      ...[...figures].map(([{ name }, rows]) => row(name, rows)),
      `installed: ${installedSize().toFixed(0)} MB of packages`,
      'wanted: ready within 2.00 times the bare Fastify; at most 60 MB PSS a worker'
    ]
  } finally {
    await Promise.all([postgres.stop(), redis.stop()])
    rmSync(folder, { recursive: true, force: true })
  }
}
