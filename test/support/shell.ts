/** A shell for the code blocks of a page, in which a person would type them: variables stay from one block to the next. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { aDataDir, type Finished, main, testSettings } from './keyturn.ts'

export interface Shell {
  /** Where it is: a folder with `dist`, as in a clone. */
  readonly folder: string
  /** What is exported at the moment. */
  readonly env: Record<string, string>
  /** Runs a block up to the first command that fails. */
  run(block: string): Promise<Finished>
}

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`

/** A shell with these variables and commands: `keyturn`, `node`, and those in `commands` by their programs. */
export function openShell(
  t: Pick<Test, 'teardown'>,
  env: Readonly<Record<string, string>>,
  commands: Readonly<Record<string, readonly string[]>> = {}
): Shell {
  const folder = aDataDir(t)
  const programs = { keyturn: [process.execPath, main], node: [process.execPath], ...commands }
  mkdirSync(join(folder, 'bin'))
  for (const [name, words] of Object.entries(programs))
    writeFileSync(join(folder, 'bin', name), `#!/bin/sh\nexec ${words.map(quote).join(' ')} "$@"\n`, { mode: 0o755 })
  symlinkSync(fileURLToPath(new URL('../../', import.meta.url)), join(folder, 'dist'))
  let variables = testSettings({ ...env, PATH: `${join(folder, 'bin')}:${process.env.PATH}` })
  return {
    folder,
    get env() {
      return variables
    },
    async run(block) {
      const script = `trap 'env -0 >&3' EXIT\nset -e\n${block}`
      const child = spawn('sh', ['-c', script], {
        cwd: folder,
        env: variables,
        stdio: ['ignore', 'pipe', 'pipe', 'pipe']
      })
      const [out, err, after] = [child.stdout, child.stderr, child.stdio[3] as typeof child.stdout]
      const [[code], stdout, stderr, exported] = await Promise.all([
        once(child, 'close'),
        ...([out, err, after] as const).map((stream) => text(stream as NonNullable<typeof out>))
      ] as const)
      variables = Object.fromEntries(
        String(exported)
          .split('\0')
          .flatMap((pair) =>
            pair === '' ? [] : [[pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]]
          )
      )
      return { code, stdout: String(stdout), stderr: String(stderr) }
    }
  }
}
