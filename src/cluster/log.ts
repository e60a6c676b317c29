import { isatty } from 'node:tty'
import { type DestinationStream, type Logger, pino } from 'pino'
import type { Config } from '../config/settings.ts'

/**
 * The log: JSON lines on standard output, or lines for people on a terminal. Nothing is lost at an exit. Nobody logs tokens, passwords or headers: requests are logged by their outcome only (plugins/requests.ts).
 */
export async function openLog({ logLevel, logFormat }: Pick<Config, 'logLevel' | 'logFormat'>): Promise<Logger> {
  const format = logFormat ?? (isatty(1) ? 'pretty' : 'json')
  const options = {
    level: logLevel,
    base: { pid: process.pid },
    timestamp: makeTimestamp(),
    formatters: { level: (label: string) => ({ level: label }) }
  }
  if (format === 'json') return pino(options, gather(pino.destination({ fd: 1, sync: true })))
  const { default: pretty } = await import('pino-pretty')
  return pino(options, pretty({ sync: true, ignore: 'pid,reqId', translateTime: 'SYS:HH:MM:ss', singleLine: true }))
}

/** The level of warnings, as pino numbers them. */
const warning = 40

/** How long a line may wait for others, in milliseconds. */
const gathering = 20

/**
 * Writes lines together, synchronously: a call to the system for each costs more than what is written. Warnings, and all before
 * them, are written at once, and so is everything at an exit; a process that is killed loses what it had gathered.
 */
function gather(out: DestinationStream): DestinationStream {
  let lines = ''
  const flush = (): void => {
    const due = lines
    lines = ''
    if (due !== '') out.write(due)
  }
  process.on('exit', flush)
  const gathered: DestinationStream & { lastLevel: number } = {
    lastLevel: 0,
    write(line) {
      if (lines === '') setTimeout(flush, gathering).unref()
      lines += line
      if (gathered.lastLevel >= warning) flush()
    }
  }
  // So that pino says of which level a line is.
  return Object.assign(gathered, { [pino.symbols.needsMetadataGsym]: true })
}

/** The time as pino's own isoTime has it; many lines are of the same millisecond. */
function makeTimestamp(): () => string {
  let [last, text] = [0, '']
  return () => {
    const now = Date.now()
    if (now !== last) text = `,"time":"${new Date(now).toISOString()}"`
    last = now
    return text
  }
}
