import { isatty } from 'node:tty'
import { type Logger, pino } from 'pino'
import type { Config } from '../config/settings.ts'

/**
 * The log: JSON lines on standard output, or lines for people on a terminal. Written synchronously, so that nothing is lost
 * at an exit. Nobody logs tokens, passwords or headers: requests are logged by their outcome only (plugins/requests.ts).
 */
export async function openLog({ logLevel, logFormat }: Pick<Config, 'logLevel' | 'logFormat'>): Promise<Logger> {
  const format = logFormat ?? (isatty(1) ? 'pretty' : 'json')
  const options = {
    level: logLevel,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) }
  }
  if (format === 'json') return pino(options, pino.destination({ fd: 1, sync: true }))
  const { default: pretty } = await import('pino-pretty')
  return pino(options, pretty({ sync: true, ignore: 'pid,reqId', translateTime: 'SYS:HH:MM:ss', singleLine: true }))
}
