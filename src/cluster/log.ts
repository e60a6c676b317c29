import { isatty } from 'node:tty'
import type { DestinationStream, Logger } from 'pino'
import type { Config } from '../config/settings.ts'
import { printableText, printableValue } from '../printable.ts'
import { type LogOutput, openLogOutput } from './log-output.ts'

const levels = ['fatal', 'error', 'warn', 'info', 'debug'] as const

/** The part of a log that processes without requests use. */
export type Log = Pick<Logger, (typeof levels)[number]>

type LogSettings = Pick<Config, 'logLevel' | 'logFormat'>

/**
 * The log: JSON lines on standard output, or readable lines on a terminal. It never logs tokens, passwords or headers: requests
 * are logged by their outcome only (plugins/requests.ts). A destination that is full, closed or stalled neither blocks nor ends
 * the process (log-output.ts). With `gathers`, lines are written in batches.
 */
export async function openLog({ logLevel, logFormat }: LogSettings, gathers = true): Promise<Logger> {
  const { pino } = await import('pino')
  const format = logFormat ?? (isatty(1) ? 'pretty' : 'json')
  const options = {
    level: logLevel,
    base: { pid: process.pid },
    timestamp: makeTimestamp(),
    formatters: { level: (label: string) => ({ level: label }) }
  }
  const output = openLogOutput({ onRecovered: (lines) => log.warn({ lines }, 'log lines were dropped') })
  droppedLines = output.dropped
  const { destination, flush } = await destinationOf(format, output, gathers, pino.symbols.needsMetadataGsym)
  finish = () => {
    flush()
    output.finish()
  }
  process.on('exit', finish)
  const log: Logger = pino(options, destination)
  return log
}

/**
 * Writes all lines of this process, or counts them as dropped, as at its exit. A process calls it before it reports its last metrics,
 * since no process could report them later.
 */
export const finishLog = (): void => finish()
let finish = (): void => {}

/** How many lines of the log this process has dropped, because their destination did not accept them. */
export const countDroppedLines = (): number => droppedLines()
let droppedLines = (): number => 0

interface Destination {
  readonly destination: DestinationStream
  /** Writes the lines that wait for others. */
  readonly flush: () => void
}

async function destinationOf(
  format: 'json' | 'pretty',
  output: LogOutput,
  gathers: boolean,
  needsMetadata: symbol
): Promise<Destination> {
  // Log files are shown on terminals too.
  if (format === 'json') {
    const json = { write: (lines: string) => output.write(printableText(lines)) }
    return gathers ? gather(json, needsMetadata) : { destination: json, flush: () => {} }
  }
  const { prettyFactory } = await import('pino-pretty')
  const pretty = prettyFactory({ ignore: 'pid,reqId', translateTime: 'SYS:HH:MM:ss', singleLine: true })
  const destination = { write: (line: string) => output.write(pretty(printableValue(JSON.parse(line)))) }
  return { destination, flush: () => {} }
}

/**
 * The arbiter's log, usable at once: lines before it is open are buffered in order, and later ones are written immediately. The
 * arbiter forks before it loads pino, so that all its processes start 16 ms sooner.
 */
export function makeLog(settings: LogSettings): Log {
  let log: Log | undefined
  const waiting: ((log: Log) => void)[] = []
  const begin = (opened: Log): void => {
    log = opened
    for (const write of waiting) write(opened)
  }
  // Written directly to standard error, since the log itself could not be opened.
  const fail = (error: unknown): never => {
    console.error(error)
    process.exit(1)
  }
  openLog(settings, false).then(begin, fail)
  const logAt = (level: keyof Log) => (facts: object | string, message?: string) => {
    const write = (opened: Log): void => opened[level](facts, message)
    if (log === undefined) waiting.push(write)
    else write(log)
  }
  return Object.fromEntries(levels.map((level) => [level, logAt(level)])) as unknown as Log
}

/** The level of warnings, as pino numbers them. */
const warning = 40

/** How long a line may wait for others, in milliseconds. */
const gathering = 20

/**
 * Writes lines in batches, synchronously, because a system call for each line costs more than formatting it. A warning is
 * written at once, together with all lines before it, and so is the batch when the process exits. A process that is killed
 * loses its batch.
 */
function gather(out: DestinationStream, needsMetadata: symbol): Destination {
  let lines = ''
  const flush = (): void => {
    const due = lines
    lines = ''
    if (due !== '') out.write(due)
  }
  const gathered: DestinationStream & { lastLevel: number } = {
    lastLevel: 0,
    write(line) {
      if (lines === '') setTimeout(flush, gathering).unref()
      lines += line
      if (gathered.lastLevel >= warning) flush()
    }
  }
  // This makes pino pass the level of each line.
  return { destination: Object.assign(gathered, { [needsMetadata]: true }), flush }
}

/** The time in the format of pino's isoTime. Cached, since many lines have the same millisecond. */
function makeTimestamp(): () => string {
  let [last, text] = [0, '']
  return () => {
    const now = Date.now()
    if (now !== last) text = `,"time":"${new Date(now).toISOString()}"`
    last = now
    return text
  }
}
