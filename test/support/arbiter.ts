/*
 * `keyturn serve` with all its processes: when each one started, was ready, drained and exited, from the arbiter's log at
 * level debug. The arbiter logs each step as it takes it, so the log is more exact than polling the processes.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import type { LogLine } from './app.ts'
import { aDataDir, post, type RunningKeyturn, runKeyturn, type StartOptions, startKeyturn } from './keyturn.ts'

export type Kind = 'worker' | 'hasher'

/** One process, from its start to its exit. Milliseconds since 1970, as in the log. */
export interface Life {
  readonly kind: Kind
  readonly pid: number
  readonly startedAt: number
  readyAt?: number
  /** It was ordered to drain. */
  drainedAt?: number
  /** It was taken for hung, and sent SIGABRT. */
  abortedAt?: number
  exitedAt?: number
  signal?: string
}

export interface RunningArbiter extends RunningKeyturn {
  readonly pid: number
  /** Its environment: for commands on the same data. */
  readonly settings: Record<string, string>
  /** The log so far. */
  lines(): readonly LogLine[]
  /** All processes so far, oldest first. */
  lives(kind: Kind): readonly Life[]
  /** The ids of those that are ready, oldest first. */
  ready(kind: Kind): readonly number[]
  /** Sends a signal to the oldest one that is ready, and returns its id. Throws when there is none. */
  kill(kind: Kind, signal: NodeJS.Signals): number
  /** Resolves with the first line with this message after the first `from` lines, by default the lines so far. */
  next(message: string, from?: number): Promise<LogLine>
}

/**
 * Two workers and a hasher on embedded data, ready when this resolves and killed with `t`. An ENV_FILE in `env` decides
 * itself how many workers there are.
 */
export async function startArbiter(
  t: Pick<Test, 'teardown'>,
  env: Record<string, string> = {},
  options: StartOptions = {}
): Promise<RunningArbiter> {
  const settings: Record<string, string> = {
    LOG_LEVEL: 'debug',
    DATA_DIR: env.DATA_DIR ?? aDataDir(t),
    ...(env.ENV_FILE === undefined ? { WEB_CONCURRENCY: '2' } : {}),
    ...env
  }
  const keyturn = await startKeyturn(t, settings, options)
  const { child, output } = keyturn
  const lines: LogLine[] = []
  let rest = ''
  const read = (text: string): void => {
    const whole = (rest + text).split('\n')
    rest = whole.pop() ?? ''
    for (const line of whole) lines.push(JSON.parse(line))
  }
  read(output().stdout)
  child.stdout?.on('data', read)
  const lives = (kind: Kind): Life[] => livesOf(lines, kind)
  const ready = (kind: Kind): number[] => lives(kind).flatMap((life) => (isReady(life) ? [life.pid] : []))
  t.teardown(() => {
    for (const { pid, exitedAt } of [...lives('worker'), ...lives('hasher')])
      if (exitedAt === undefined && isAlive(pid)) process.kill(pid, 'SIGKILL')
  })
  return {
    ...keyturn,
    pid: Number(child.pid),
    settings,
    lines: () => lines,
    lives,
    ready,
    kill(kind, signal) {
      const [pid] = ready(kind)
      if (pid === undefined) throw new Error(`no ${kind} is ready`)
      process.kill(pid, signal)
      return pid
    },
    async next(message, from = lines.length) {
      const find = () => lines.find(({ msg }, index) => index >= from && msg === message)
      await until(() => find() !== undefined, `"${message}" is logged`)
      return find() as LogLine
    }
  }
}

export const login = { username: 'vitor', password: 'correct horse' }

/** Adds the user of `login`, and logs in. */
export async function logIn({ url, settings }: RunningArbiter): Promise<{ access: string; refresh: string }> {
  const { code, stderr } = await runKeyturn(['users', 'create', login.username], settings, login.password)
  if (code !== 0) throw new Error(stderr)
  const { access = '', refresh = '' } = (await post(`${url}/api/token/`, login)).body
  return { access, refresh }
}

const isReady = ({ readyAt, drainedAt, abortedAt, exitedAt }: Life): boolean =>
  readyAt !== undefined && drainedAt === undefined && abortedAt === undefined && exitedAt === undefined

/** The lives of one kind, read from a log. */
export function livesOf(lines: readonly LogLine[], kind: Kind): Life[] {
  const lives: Life[] = []
  for (const line of lines) {
    const at = Date.parse(String(line.time))
    const pid = Number(line[kind])
    // The newest with this id: the system may reuse it.
    const life = lives.findLast((each) => each.pid === pid)
    if (line.msg === `${kind} starting`) lives.push({ kind, pid, startedAt: at })
    else if (life === undefined) continue
    else if (line.msg === `${kind} ready`) life.readyAt ??= at
    else if (line.msg === `${kind} draining`) life.drainedAt ??= at
    else if (line.msg === `${kind} unresponsive; sending SIGABRT`) life.abortedAt ??= at
    else if (line.code !== undefined) {
      life.exitedAt = at
      life.signal = String(line.signal)
    }
  }
  return lives
}

/** The lowest number that were ready at the same time, from line `from` on. */
export function fewestReady(lines: readonly LogLine[], kind: Kind, from: number): number {
  const about = (some: readonly LogLine[]): LogLine[] => some.filter((line) => line[kind] !== undefined)
  const [before, after] = [about(lines.slice(0, from)), about(lines.slice(from))]
  const counts = Array.from({ length: after.length + 1 }, (_, index) => [...before, ...after.slice(0, index)])
  return Math.min(...counts.map((history) => livesOf(history, kind).filter(isReady).length))
}

/** Whether a process of Keyturn has this id: the system may have given it to another program since. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    if (process.platform !== 'linux') return true
    // Empty for a zombie: an orphan waits for the init process of the host, which may never reap it.
    return /keyturn|cluster\/|main\.js/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
  } catch {
    return false
  }
}

/** Resolves once all these processes have exited. */
export const untilGone = (pids: readonly number[]): Promise<number> =>
  until(() => !pids.some(isAlive), `the processes ${pids} have exited`)

/** Seconds until a condition that does not come true fails its test: far longer than anything takes on a busy machine. */
const patience = 180

/** Resolves with the seconds until `isSo`. A test that promises a time compares them; the limit here is only for a failure. */
export async function until(isSo: () => boolean | Promise<boolean>, what = String(isSo)): Promise<number> {
  const began = performance.now()
  while (!(await isSo())) {
    if (performance.now() - began > patience * 1000) throw new Error(`not so after ${patience} seconds: ${what}`)
    await delay(10)
  }
  return (performance.now() - began) / 1000
}
