/*
 * Runs suites of the compiled tests with tap: `node dist/test/run.js core`, `… process faults`, `… all`. What follows `--`
 * goes to tap. The last line counts the assertions; the exit code is tap's.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findEngines } from './support/engines.ts'
import { sharedPostgres, startPostgres } from './support/postgres.ts'
import { sharedDatabases, sharedRedis, startRedis } from './support/redis.ts'

interface Suite {
  /** Relative to the compiled `test`, with everything in them. */
  readonly folders: readonly string[]
  /** Whether the files of a folder share one process: starting tap and Fastify for each costs more than most of their tests. */
  readonly sharesProcess: boolean
}

const own = (folder: string): Suite => ({ folders: [folder], sharesProcess: false })
const suites: Readonly<Record<string, Suite>> = {
  core: { folders: ['src', 'routes', 'plugins', 'wire', 'timing', 'house', 'start'], sharesProcess: true },
  process: own('e2e'),
  engines: own('engines'),
  faults: own('faults'),
  fuzz: own('fuzz'),
  history: own('history'),
  recipes: own('recipes'),
  packages: own('../../packages')
}

const test = fileURLToPath(new URL('.', import.meta.url))
const root = join(test, '../..')
const isTerminal = process.stdout.isTTY

/** The test files below a folder, by the folder that they are in. */
function filesByFolder(folder: string): Map<string, string[]> {
  const found = readdirSync(join(test, folder), { recursive: true, encoding: 'utf8' })
  const files = found.filter((name) => name.endsWith('.test.js') && !name.includes('node_modules')).toSorted()
  const byFolder = new Map<string, string[]>()
  for (const file of files) {
    const path = join(test, folder, file)
    byFolder.set(dirname(path), [...(byFolder.get(dirname(path)) ?? []), path])
  }
  return byFolder
}

/**
 * What tap runs for a suite: its files, or one module a folder that imports the folder's files one after the other. The
 * next is imported when the tests of the one before have ended, so files see each other no more than tests of one file do.
 */
function entriesOf({ folders, sharesProcess }: Suite): string[] {
  return folders.map(filesByFolder).flatMap((byFolder) =>
    [...byFolder].flatMap(([folder, files]) => {
      if (!sharesProcess) return files
      const entry = join(test, 'folders', `${relative(test, folder).replaceAll('/', '-')}.js`)
      const imports = files.map((file) => `await load(${JSON.stringify(relative(test, file))})\n`)
      mkdirSync(dirname(entry), { recursive: true })
      writeFileSync(entry, `import { load } from '../support/load.js'\n${imports.join('')}`)
      return entry
    })
  )
}

/** One Redis and one PostgreSQL for all files, where the programs are: each file has databases of its own. */
async function startShared(): Promise<{ env: Record<string, string>; stop(): Promise<unknown> }> {
  const { redis, postgres } = findEngines()
  const args = ['--databases', `${sharedDatabases}`]
  const servers = {
    ...(redis && { [sharedRedis]: await startRedis({ tcp: true, args }) }),
    ...(postgres && { [sharedPostgres]: await startPostgres({ tcp: true, own: true }) })
  }
  return {
    env: Object.fromEntries(Object.entries(servers).map(([name, { url }]) => [name, url])),
    stop: () => Promise.all(Object.values(servers).map((server) => server.stop()))
  }
}

/** Each file and each assertion that failed, with its diagnostics and the titles above it. */
function failuresOf(report: string): string[] {
  const titles: string[] = []
  const failures: string[] = []
  let open: string[] | undefined
  for (const line of report.split('\n')) {
    const depth = line.search(/\S/) / 4
    const title = /^ *# Subtest: (.*)/.exec(line)?.[1]
    if (title !== undefined) titles.splice(depth, titles.length, title)
    // A test fails with its assertions; a file may also have ended too early, or with a signal.
    if (/^ *not ok /.test(line) && (depth === 0 || !line.includes('# time=')))
      open = [titles.slice(0, depth).join(' › ')]
    open?.push(line)
    if (open !== undefined && (/^ *\.\.\.$/.test(line) || open.length > 60)) {
      failures.push(open.join('\n'))
      open = undefined
    }
  }
  return failures
}

/** Runs tap on these files; its exit code, and how many assertions passed and failed. */
async function runTap(entries: readonly string[], options: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-tap-'))
  const shared = await startShared()
  const output = join(folder, 'tap')
  try {
    const tap = fileURLToPath(new URL('dist/esm/run.mjs', import.meta.resolve('tap/package.json')))
    const child = spawn(
      process.execPath,
      [
        tap,
        `--reporter=${isTerminal ? 'base' : 'silent'}`,
        `--output-file=${output}`,
        ...options,
        ...entries.map((entry) => relative(root, entry))
      ],
      { cwd: root, stdio: 'inherit', env: { ...process.env, ...shared.env } }
    )
    const [code] = await once(child, 'close')
    const report = readFileSync(output, 'utf8')
    if (!isTerminal) for (const failure of failuresOf(report)) console.log(failure)
    const summary = report.match(/^# \{ total: .*\}$/m)?.[0] ?? ''
    const count = (name: string): number => Number(new RegExp(`${name}: (\\d+)`).exec(summary)?.[1] ?? 0)
    return { code: Number(code ?? 1), passed: count('pass'), failed: count('fail'), skipped: count('skip') }
  } finally {
    await shared.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

const [names, options] = splitArguments(process.argv.slice(2))
const chosen = names.includes('all') ? Object.keys(suites) : names
const unknown = chosen.filter((name) => suites[name] === undefined)
if (chosen.length === 0 || unknown.length > 0) {
  console.error(`expected some of ${Object.keys(suites).join(', ')}, or all; got ${unknown.join(', ') || 'nothing'}`)
  process.exit(2)
}
const began = performance.now()
const entries = chosen.flatMap((name) => entriesOf(suites[name] as Suite))
// Without a file, tap would run everything that it finds.
if (entries.length === 0) throw new Error(`no compiled test in ${chosen.join(', ')}`)
// Coverage is of all suites together: each by itself would fall short.
const result = await runTap(entries, [...(names.includes('all') ? [] : ['--disable-coverage']), ...options])
const seconds = ((performance.now() - began) / 1000).toFixed(0)
console.log(
  `${chosen.join(', ')}: ${result.passed} assertions passed, ${result.failed} failed, ${result.skipped} skipped, in ${seconds} s`
)
process.exitCode = result.code

function splitArguments(args: readonly string[]): [string[], string[]] {
  const end = args.indexOf('--')
  return end < 0 ? [[...args], []] : [args.slice(0, end), args.slice(end + 1)]
}
