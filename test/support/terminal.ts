/** A terminal for a command to be run on: `script` of util-linux makes one. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

/** Why there is no terminal, for a test's `skip` option; false when there is one. */
export const withoutTerminal = (): string | false =>
  spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout?.includes('util-linux')
    ? false
    : 'no script(1) of util-linux'

/** Runs a command on a terminal and types an answer at each prompt; `out` is what the terminal showed. */
export async function onTerminal(
  command: readonly string[],
  env: NodeJS.ProcessEnv,
  answers: readonly string[] = []
): Promise<{ readonly code: number | null; readonly out: string }> {
  const line = command.map((word) => `'${word}'`).join(' ')
  const child = spawn('script', ['-qefc', line, '/dev/null'], { env })
  const rest = answers.values()
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
    // Each prompt ends by putting the cursor behind it: what is typed now is read.
    for (let prompts = text.split(/\x1b\[\d\dG/).length; prompts > 1; prompts--)
      child.stdin.write(rest.next().value ?? '')
  })
  const [code] = await once(child, 'close')
  return { code, out }
}
