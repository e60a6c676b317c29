/* What is done to servers and disks, by hand. Each gives what undoes it. */
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { Scope } from './worlds.ts'

async function ask<Row extends object>(url: string, sql: string): Promise<readonly Row[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Row>(sql)).rows
  } finally {
    await client.end()
  }
}

/** Gives the table another name, as a faulty migration would. Returns what undoes it. */
export async function hideTable(url: string, table: string): Promise<() => Promise<unknown>> {
  await ask(url, `ALTER TABLE ${table} RENAME TO ${table}_hidden`)
  return () => ask(url, `ALTER TABLE ${table}_hidden RENAME TO ${table}`)
}

/** Stops the server and every process of it: connections stay, and say nothing. */
export async function freezeAll(url: string): Promise<() => void> {
  const [row] = await ask<{ data_directory: string }>(url, 'SHOW data_directory')
  const first = Number(readFileSync(join(row?.data_directory ?? '', 'postmaster.pid'), 'utf8').split('\n')[0])
  // The first is stopped before it can make another.
  process.kill(first, 'SIGSTOP')
  const children = readFileSync(`/proc/${first}/task/${first}/children`, 'utf8').trim().split(' ').map(Number)
  for (const pid of children) process.kill(pid, 'SIGSTOP')
  return () => {
    for (const pid of [...children, first]) process.kill(pid, 'SIGCONT')
  }
}

/** Takes every connection that the server has, those of Keyturn too. */
export async function holdConnections(url: string): Promise<() => Promise<void>> {
  const held: pg.Client[] = []
  const takeAll = async (): Promise<void> => {
    for (;;) {
      const client = new pg.Client({ connectionString: url, application_name: 'held' })
      client.on('error', () => {})
      try {
        await client.connect()
      } catch {
        return
      }
      held.push(client)
    }
  }
  await takeAll()
  const [one] = held
  await one?.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keyturn'")
  let isOver = false
  const taking = (async () => {
    while (!isOver) {
      await takeAll()
      await delay(20)
    }
  })()
  return async () => {
    isOver = true
    await taking
    await Promise.all(held.map((client) => client.end()))
  }
}

const quiet = { stdio: 'ignore' } as const

/**
 * Puts a disk of its own into the folder, 8 MB of memory; it goes with `scope`. False where this process may not mount: it takes
 * root, and a container that allows it.
 */
export function mountSmallDisk(folder: string, scope: Scope): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'none', folder], quiet)
  } catch {
    return false
  }
  scope.teardown(() => execFileSync('umount', [folder], quiet))
  return true
}

/** Fills the disk to its last byte. */
export function fillDisk(folder: string): () => void {
  const ballast = join(folder, 'ballast')
  for (let size = 2 ** 23; size >= 1; size /= 2) {
    try {
      writeFileSync(ballast, Buffer.alloc(size), { flag: 'a' })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }
  return () => rmSync(ballast)
}

/** The next best: no file that these processes write may grow beyond its first bytes (EFBIG instead of ENOSPC). */
export function forbidGrowth(pids: readonly number[]): () => void {
  const limit = (size: string): void => {
    for (const pid of pids) execFileSync('prlimit', ['--pid', `${pid}`, `--fsize=${size}:`], quiet)
  }
  limit('1024')
  return () => limit('unlimited')
}
