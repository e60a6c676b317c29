import {
  type ChildProcess,
  type ChildProcessWithoutNullStreams,
  type SpawnOptionsWithoutStdio,
  spawn
} from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

/** The command itself, as a script for Node. */
export const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Settings of a Keyturn for tests: cheap passwords, no limits, nothing of this process's own environment but PATH. */
export const testSettings = (env: Record<string, string>): Record<string, string> => ({
  PATH: process.env.PATH ?? '',
  ARGON2_MEMORY: '8192',
  ARGON2_TIME: '1',
  // A boot may take longer than the 30 seconds of the default where many tests run beside it.
  TIMEOUT: '180',
  RATE_LIMIT_OBTAIN: 'off',
  RATE_LIMIT_REFRESH: 'off',
  ...env
})

/** A folder for embedded data, removed with `t`. */
export function aDataDir(t: Pick<Test, 'teardown'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Starts `keyturn ...args`, whose standard input stays open. */
export function spawnKeyturn(
  args: readonly string[],
  env: Record<string, string>,
  limit: Pick<SpawnOptionsWithoutStdio, 'timeout' | 'killSignal'> = {}
): ChildProcessWithoutNullStreams {
  const child = spawn(process.execPath, [main, ...args], { env: testSettings(env), ...limit })
  child.stdin.on('error', () => {}) // a command that is refused reads nothing
  return child
}

/** Seconds after which a command that has not ended is killed: far longer than any takes on a busy machine. */
const patience = 180

/** Runs `keyturn ...args` to its end; `input` is its standard input. Rejects with its output if it does not end. */
export async function runKeyturn(
  args: readonly string[],
  env: Record<string, string>,
  input: string | Buffer = ''
): Promise<Finished> {
  const child = spawnKeyturn(args, env, { timeout: patience * 1000, killSignal: 'SIGKILL' })
  const output = collect(child)
  child.stdin.end(input)
  const [code] = await once(child, 'close')
  if (child.killed)
    throw new Error(`keyturn ${args.join(' ')} ran for ${patience} seconds: ${JSON.stringify(output())}`)
  return { code, ...output() }
}

/** POSTs JSON to a running Keyturn: the status and the JSON that came back. */
export async function post(url: string, body: object): Promise<{ status: number; body: Record<string, string> }> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })
  return { status: answer.status, body: (await answer.json()) as Record<string, string> }
}

export interface RunningKeyturn {
  readonly url: string
  readonly child: ChildProcess
  /** What it has written so far. */
  output(): { readonly stdout: string; readonly stderr: string }
  /** Sends `signal` and resolves with the exit code once it has ended. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

export interface StartOptions {
  /** What is run, where it is not `keyturn serve` itself. */
  readonly command?: readonly [file: string, ...args: string[]]
  readonly cwd?: string
  /** A descriptor of this process that becomes its descriptor 3. */
  readonly passed?: number
}

/** `keyturn serve`, as a command. */
export const serveCommand = [process.execPath, main, 'serve'] as const

/** `keyturn serve` on a free port, ready when this resolves, and ended with `t`. Rejects with its output when it does not start. */
export async function startKeyturn(
  t: Pick<Test, 'teardown'>,
  env: Record<string, string>,
  { command: [file, ...args] = serveCommand, cwd, passed }: StartOptions = {}
): Promise<RunningKeyturn> {
  const child = spawn(file, args, {
    env: testSettings({ PORT: '0', ...env }),
    cwd,
    stdio: ['pipe', 'pipe', 'pipe', ...(passed === undefined ? [] : [passed])]
  }) as ChildProcessWithoutNullStreams
  const output = collect(child)
  const closed = once(child, 'close')
  t.teardown(() => child.kill('SIGKILL'))
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', () => {
      const found = /listens on (http:\S+?)"/.exec(output().stdout)?.[1]
      if (found !== undefined) resolve(found)
    })
    closed.then(() => reject(new Error(`keyturn serve ended: ${JSON.stringify(output())}`)))
  })
  return {
    url,
    child,
    output,
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      const [code] = await closed
      return code
    }
  }
}

function collect(child: ChildProcess): () => { stdout: string; stderr: string } {
  const texts = { stdout: '', stderr: '' }
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    texts.stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    texts.stderr += text
  })
  return () => ({ ...texts })
}
