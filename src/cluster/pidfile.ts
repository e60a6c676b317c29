import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { ConfigError } from '../config/load.ts'

/**
 * Writes this process's id into `file`, and returns a function that removes it. A file left behind by a process that has
 * exited is replaced. Throws ConfigError when the process it names is running, or the file cannot be written. Source:
 * Gunicorn's pidfile.
 */
export function writePidfile(file: string): () => void {
  // Opening a FIFO would wait for a process at its other end.
  if (isPipe(file)) throw new ConfigError([`PIDFILE: got "${file}", expected a writable file (a pipe).`])
  const owner = ownerOf(file)
  if (owner !== undefined && owner !== process.pid) {
    throw new ConfigError([
      `PIDFILE: ${file} names process ${owner}, which is running; stop it first, or set another PIDFILE.`
    ])
  }
  try {
    writeFileSync(file, `${process.pid}\n`)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new ConfigError([`PIDFILE: got "${file}", expected a writable file (${code}).`])
  }
  return () => {
    if (ownerOf(file) === process.pid) rmSync(file, { force: true })
  }
}

function isPipe(file: string): boolean {
  try {
    return statSync(file).isFIFO()
  } catch {
    return false
  }
}

/** The running process that `file` names, if any. */
function ownerOf(file: string): number | undefined {
  try {
    const pid = Number(readFileSync(file, 'utf8').trim())
    if (!Number.isInteger(pid) || pid <= 0) return undefined
    process.kill(pid, 0)
    return pid
  } catch (error) {
    // EPERM: it is running, as another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? Number(readFileSync(file, 'utf8').trim()) : undefined
  }
}
