import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { ConfigError } from '../config/load.ts'

/**
 * Writes this process's id into `file`, and gives back what removes it. A file left by a process that is gone is taken
 * over. Throws ConfigError when another process lives by it, or the file cannot be written. Source: Gunicorn's pidfile.
 */
export function writePidfile(file: string): () => void {
  const owner = ownerOf(file)
  if (owner !== undefined && owner !== process.pid) {
    throw new ConfigError([`PIDFILE: ${file} names process ${owner}, which is running; expected no other one.`])
  }
  try {
    writeFileSync(file, `${process.pid}\n`)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new ConfigError([`PIDFILE: got "${file}", expected a file that can be written (${code}).`])
  }
  return () => {
    if (ownerOf(file) === process.pid) rmSync(file, { force: true })
  }
}

/** The living process that `file` names. */
function ownerOf(file: string): number | undefined {
  try {
    const pid = Number(readFileSync(file, 'utf8').trim())
    if (!Number.isInteger(pid) || pid <= 0) return undefined
    process.kill(pid, 0)
    return pid
  } catch (error) {
    // EPERM: it lives, and is somebody else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? Number(readFileSync(file, 'utf8').trim()) : undefined
  }
}
