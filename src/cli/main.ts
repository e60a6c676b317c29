#!/usr/bin/env node
import { explain } from '../errors.ts'
import { say } from './terminal.ts'

/**
 * `keyturn serve` alone needs no command line to be read: workers start a sixtieth of a second sooner without the
 * others' words (bench/boot.ts).
 */
async function run(words: readonly string[]): Promise<void> {
  if (words.length === 1 && words[0] === 'serve') await (await import('./serve.ts')).serve()
  else await (await import('./commands.ts')).runCommand()
}

/** The exit status for `error`, after telling what there is to tell. */
function report(error: unknown): number {
  const reason = explain(error)
  if (reason === undefined) console.error(error)
  else say(reason.message)
  return reason?.exitCode ?? 1
}

// `keyturn users list | head` closes the pipe early: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})
// Whoever does not want to hear why does not change what comes of it.
process.stderr.on('error', () => {})

run(process.argv.slice(2)).catch((error) => {
  process.exitCode = report(error)
})
