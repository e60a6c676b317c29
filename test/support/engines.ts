/**
 * The programs that tests need beside Node: where redis-server, PostgreSQL, Django, a browser and the rest are, and how
 * one is run privately.
 * Run as a script (npm's pretest does) it installs what is missing where that is possible, or says what cannot run.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { chown } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export type Engines = {
  /** Path of `redis-server`. */
  readonly redis: string | undefined
  /** Paths of `initdb` and `postgres`, always of one version. */
  readonly postgres: { readonly initdb: string; readonly postgres: string } | undefined
  /** Path of the Python that has Django, Simple JWT, and what Django's hashers need. */
  readonly django: string | undefined
  /** Path of Chromium, or of Chrome. */
  readonly chromium: string | undefined
  /** Path of the Python that has FastAPI, Uvicorn and PyJWT. */
  readonly fastapi: string | undefined
  /** Path of the Python that has Django REST framework, PyJWT, and Gunicorn with gevent. */
  readonly gunicorn: string | undefined
  /** Paths of the proxies that docs/recipes has a page for. */
  readonly nginx: string | undefined
  readonly haproxy: string | undefined
  readonly caddy: string | undefined
  /** Paths of `prometheus` and `promtool`. */
  readonly prometheus: { readonly prometheus: string; readonly promtool: string } | undefined
}

export type Account = { readonly uid: number; readonly gid: number }

type Need = {
  readonly engine: keyof Engines
  readonly program: string
  /** Debian's packages. */
  readonly packages: readonly string[]
  /** The variable that names something as good, which makes the program needless. */
  readonly variable: string
  /** What that variable names. */
  readonly value: string
  readonly suites: string
}

const NEEDS: readonly Need[] = [
  {
    engine: 'redis',
    program: 'redis-server',
    packages: ['redis-server'],
    variable: 'TEST_REDIS_URL',
    value: 'a server that tests may use',
    suites: 'Redis'
  },
  {
    engine: 'postgres',
    program: 'PostgreSQL (initdb, postgres)',
    packages: ['postgresql'],
    variable: 'TEST_DATABASE_URL',
    value: 'a server that tests may use',
    suites: 'PostgreSQL'
  },
  {
    engine: 'django',
    program: 'Django with Simple JWT',
    // The second brings ES256 to PyJWT, which only recommends it; the others bring two of Django's hashers, likewise.
    packages: [
      'python3-djangorestframework-simplejwt',
      'python3-cryptography',
      'python3-argon2',
      'python3-bcrypt',
      'python3-psycopg2'
    ],
    variable: 'TEST_PYTHON',
    value: 'a Python that has them',
    suites: 'Django'
  },
  {
    engine: 'chromium',
    program: 'Chromium',
    packages: ['chromium'],
    variable: 'TEST_CHROMIUM',
    value: 'one, or a Chrome',
    suites: 'Browser'
  },
  {
    engine: 'fastapi',
    program: 'FastAPI with PyJWT',
    packages: ['python3-fastapi', 'python3-uvicorn', 'python3-jwt', 'python3-cryptography'],
    variable: 'TEST_PYTHON',
    value: 'a Python that has them',
    suites: 'FastAPI'
  },
  {
    engine: 'gunicorn',
    program: 'Django REST framework with Gunicorn',
    packages: [
      'python3-djangorestframework',
      'python3-jwt',
      'python3-cryptography',
      'python3-gunicorn',
      'python3-gevent'
    ],
    variable: 'TEST_PYTHON',
    value: 'a Python that has them',
    suites: 'Gunicorn'
  },
  ...(['nginx', 'haproxy', 'caddy'] as const).map((proxy) => ({
    engine: proxy,
    program: proxy,
    packages: [proxy],
    variable: `TEST_${proxy.toUpperCase()}`,
    value: 'the program',
    suites: proxy
  })),
  {
    engine: 'prometheus',
    program: 'Prometheus (prometheus, promtool)',
    packages: ['prometheus'],
    variable: 'TEST_PROMETHEUS',
    value: 'a folder with both',
    suites: 'Alert and dashboard'
  }
]

/**
 * Where the programs are on this machine; undefined for what is not there.
 * PostgreSQL is looked for in PATH, in the directory `pg_config` names and, as Debian keeps it out of PATH,
 * in /usr/lib/postgresql, newest version first. Proxies are looked for in /usr/sbin too, which only root has in PATH;
 * Django and FastAPI where Debian's packages put them.
 */
export function findEngines(): Engines {
  const path = (process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== '')
  return {
    redis: findProgram(path, 'redis-server'),
    postgres: findPostgres([...path, ...pgConfigDirectory(), ...debianDirectories()]),
    // The first depends on Django and PyJWT.
    django: findPython(['rest_framework_simplejwt', 'cryptography', 'argon2', 'bcrypt', 'psycopg2']),
    chromium: findProgram(path, 'chromium') ?? findProgram(path, 'google-chrome'),
    fastapi: findPython(['fastapi', 'uvicorn', 'jwt', 'cryptography']),
    gunicorn: findPython(['rest_framework', 'jwt', 'cryptography', 'gunicorn', 'gevent']),
    nginx: findProgram([...path, '/usr/sbin'], 'nginx'),
    haproxy: findProgram([...path, '/usr/sbin'], 'haproxy'),
    caddy: findProgram([...path, '/usr/sbin'], 'caddy'),
    prometheus: findPrometheus([process.env.TEST_PROMETHEUS ?? '', ...path])
  }
}

/** Looks for the packages' folders, which takes no time; asking Python takes half a second. */
function findPython(parts: readonly string[]): string | undefined {
  const python = '/usr/bin/python3'
  const isThere = (part: string) => existsSync(`/usr/lib/python3/dist-packages/${part}`)
  return isExecutable(python) && parts.every(isThere) ? python : undefined
}

function findProgram(directories: readonly string[], name: string): string | undefined {
  return directories.map((directory) => join(directory, name)).find(isExecutable)
}

function findPostgres(directories: readonly string[]): Engines['postgres'] {
  for (const directory of directories) {
    const initdb = findProgram([directory], 'initdb')
    const postgres = findProgram([directory], 'postgres')
    if (initdb !== undefined && postgres !== undefined) return { initdb, postgres }
  }
  return undefined
}

function findPrometheus(directories: readonly string[]): Engines['prometheus'] {
  const [prometheus, promtool] = [findProgram(directories, 'prometheus'), findProgram(directories, 'promtool')]
  return prometheus === undefined || promtool === undefined ? undefined : { prometheus, promtool }
}

function pgConfigDirectory(): string[] {
  const { status, stdout } = spawnSync('pg_config', ['--bindir'], { encoding: 'utf8' })
  return status === 0 ? [stdout.trim()] : []
}

function debianDirectories(): string[] {
  const root = '/usr/lib/postgresql'
  if (!existsSync(root)) return []
  return readdirSync(root)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(root, version, 'bin'))
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** True where a missing engine is a failure and not a reason to skip: the variable CI is set, and not to `false`. */
export function isContinuousIntegration(): boolean {
  const { CI } = process.env
  return CI !== undefined && CI !== '' && CI !== 'false'
}

/** Why the suites of this engine cannot run and what makes them run, in one line; undefined when they can. */
export function whyMissing(engine: keyof Engines, engines: Engines = findEngines()): string | undefined {
  const need = NEEDS.find((row) => row.engine === engine)
  if (need === undefined || !isMissing(need, engines)) return undefined
  return (
    `${need.program} is not installed: ${need.suites} suites cannot run, and coverage may fall short. ` +
    `Install Debian's ${need.packages.join(' and ')}, or set ${need.variable} to ${need.value}.`
  )
}

function isMissing(need: Need, engines: Engines): boolean {
  return engines[need.engine] === undefined && !process.env[need.variable]
}

/* Running one privately */

/**
 * A directory of its own under the system's temporary directory, and the one program that runs in it.
 *
 * Nothing outlives the test process. A watchdog, a shell that reads a pipe which only the test process holds open,
 * sees the pipe's end however that process goes, SIGKILL included: it ends the program at once and removes the
 * directory within three seconds. It runs in a session of its own, so that Ctrl-C and a killed process group do not
 * reach it. Only killing the watchdog as well leaves something behind: the program and its `keyturn-*` directory.
 */
export type Enclosure = {
  readonly directory: string
  /** Starts a program with the directory as its working directory; its output goes to the file `log` there. */
  spawn(command: string, args: readonly string[]): ChildProcess
  /** What the programs have written so far; empty once closed. */
  log(): string
  /** Kills what runs, and removes the directory. May be called twice. */
  close(): Promise<void>
}

// Each line read is the process now to be watched; an empty one means that none runs. The signal lets PostgreSQL take
// its children and shared memory with it; SIGKILL follows after three seconds.
const WATCHDOG = `
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
  kill -s "$1" "$pid"
  kill -s CONT "$pid"
  tries=0
  while kill -0 "$pid" && [ "$tries" -lt 30 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -s KILL "$pid"
fi
rm -rf -- "$2"
`

/**
 * Opens an enclosure. `name` becomes part of the directory's name; keep it short, a unix socket's path has 107 bytes.
 * `endSignal` is what ends the program at once without saving anything. `account` owns the directory and runs the
 * program, when it must not be the caller.
 */
export async function openEnclosure(name: string, endSignal: NodeJS.Signals, account?: Account): Promise<Enclosure> {
  const directory = mkdtempSync(join(realpathSync(tmpdir()), `keyturn-${name}-`))
  const watchdog = spawn('/bin/sh', ['-c', WATCHDOG, 'watchdog', endSignal.slice(3), directory], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/'
  })
  watchdog.unref()
  const leash = watchdog.stdin as Socket
  leash.unref()
  leash.on('error', () => {}) // a watchdog killed by hand; close() still removes the directory
  if (account !== undefined) await chown(directory, account.uid, account.gid)
  const watch = (child: ChildProcess | undefined) => void leash.write(`${child?.pid ?? ''}\n`)
  let running: ChildProcess | undefined

  return {
    directory,
    spawn(command, args) {
      const log = openSync(join(directory, 'log'), 'a')
      running = spawn(command, args, {
        stdio: ['ignore', log, log],
        detached: true,
        cwd: directory,
        env: { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
        ...account
      })
      closeSync(log)
      watch(running)
      running.once('exit', () => watch(undefined))
      return running
    },
    log: () => (existsSync(join(directory, 'log')) ? readFileSync(join(directory, 'log'), 'utf8') : ''),
    async close() {
      if (running !== undefined) await endProcess(running, endSignal)
      leash.end()
      await exited(watchdog)
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

/** Resolves with the exit code, or null after a signal; at once if it has ended before. Throws if it never started. */
export async function exited(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    child.ref()
    await once(child, 'exit')
  }
  return child.exitCode
}

/**
 * Sends a signal and resolves when the process has ended; at once for SIGSTOP and SIGCONT, or if it has ended before.
 * A stopped process is continued, so that it meets its signal; one that ignores it for 5 seconds is killed.
 */
export async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  child.kill(signal)
  if (signal === 'SIGSTOP' || signal === 'SIGCONT') return
  child.kill('SIGCONT')
  const overdue = setTimeout(() => child.kill('SIGKILL'), 5000)
  await exited(child)
  clearTimeout(overdue)
}

/**
 * Waits until a program just started is ready, then lets the test process end without waiting for it.
 * Throws when it ends before, or is not ready within 20 seconds, with the last lines it wrote.
 */
export async function untilReady(
  child: ChildProcess,
  enclosure: Enclosure,
  isReady: () => boolean | Promise<boolean>
): Promise<void> {
  let failure: Error | undefined
  child.once('error', (error) => {
    failure = error
  })
  const deadline = Date.now() + 20_000
  while (!(await isReady())) {
    const over = child.exitCode !== null || child.signalCode !== null || failure !== undefined
    if (over || Date.now() > deadline) {
      const last = enclosure.log().trim().split('\n').slice(-5).join('\n')
      throw new Error(`${child.spawnfile} ${over ? 'ended before it was' : 'is not'} ready:\n${last}`, {
        cause: failure
      })
    }
    await sleep(5)
  }
  child.unref()
}

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no TCP port was given')
  return address.port
}

/* As a script */

function ensureEngines(): void {
  const missing = NEEDS.filter((need) => isMissing(need, findEngines()))
  if (missing.length > 0 && canInstall()) install(missing.flatMap((need) => need.packages))
  const engines = findEngines()
  const reasons = NEEDS.map((need) => whyMissing(need.engine, engines)).filter((reason) => reason !== undefined)
  for (const reason of reasons) console.log(reason)
  if (reasons.length > 0 && isContinuousIntegration()) process.exitCode = 1
}

function canInstall(): boolean {
  return process.getuid?.() === 0 && existsSync('/etc/debian_version') && isExecutable('/usr/bin/apt-get')
}

function install(packages: readonly string[]): void {
  console.log(`Installing ${packages.join(', ')} with apt-get: tests start private servers of their own.`)
  const restore = [
    // Debian asks this before it starts a service: 101 is no. Neither file outlives the installation.
    writeForNow('/usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', 0o755),
    writeForNow('/etc/postgresql-common/createcluster.d/keyturn.conf', 'create_main_cluster = false\n', 0o644)
  ]
  try {
    if (!hasPackageLists()) aptGet('update')
    if (!aptGet('install', ...packages)) {
      aptGet('update') // the lists may be too old: what they name is gone from the mirror
      aptGet('install', ...packages)
    }
  } finally {
    for (const undo of restore) undo()
  }
}

/** Writes a file unless there is one; what comes back removes it again. */
function writeForNow(path: string, text: string, mode: number): () => void {
  if (existsSync(path)) return () => {}
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, text, { mode })
  return () => rmSync(path, { force: true })
}

function hasPackageLists(): boolean {
  const lists = '/var/lib/apt/lists'
  return existsSync(lists) && readdirSync(lists).some((name) => name.includes('_Packages'))
}

/** True when it worked; what apt-get says is shown only when it did not. */
function aptGet(command: 'update' | 'install', ...packages: readonly string[]): boolean {
  const options = [
    '-q',
    '-y',
    '-o',
    'DPkg::Lock::Timeout=120',
    ...(packages.length > 0 ? ['--no-install-recommends'] : [])
  ]
  try {
    execFileSync('apt-get', [command, ...options, ...packages], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 64 << 20,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
    })
    return true
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string }
    console.log(`apt-get ${command} failed: ${stderr?.trim() || message}`)
    return false
  }
}

const script = process.argv[1]
if (script !== undefined && existsSync(script) && realpathSync(script) === fileURLToPath(import.meta.url)) {
  ensureEngines()
}
