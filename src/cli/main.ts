#!/usr/bin/env node
import { explain } from '../errors.ts'
import { lostOutput, say } from './terminal.ts'

/**
 * `keyturn serve` without arguments skips Commander: the service starts 16 ms sooner (bench/boot.ts).
 */
async function run(args: readonly string[]): Promise<void> {
  if (args.length === 1 && args[0] === 'serve') await (await import('./serve.ts')).serve()
  else await (await import('./commands.ts')).runCommand()
}

/** Prints the error and returns the exit status for it. */
function report(error: unknown): number {
  const reason = explain(error)
  if (reason === undefined) console.error(error)
  else say(reason.message)
  return reason?.exitCode ?? 1
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  const lost = lostOutput()
  // `keyturn users list | head` closes the pipe early, which is not a failure.
  if (error.code === 'EPIPE' && lost === undefined) process.exit(0)
  say(`Standard output cannot be written (${error.code}); ${lost ?? 'what the command printed is incomplete.'}`)
  process.exit(1)
})
// A closed standard error does not change the exit status.
process.stderr.on('error', () => {})

run(process.argv.slice(2)).catch((error) => {
  process.exitCode = report(error)
})
