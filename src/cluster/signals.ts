/** What a signal requests from the arbiter. */
export type Request = 'stop' | 'quit' | 'reload' | 'more' | 'fewer' | 'ignore'

/**
 * What each signal means to the arbiter. Source: Gunicorn, but for USR1 (there are no log files to reopen), and USR2 and
 * WINCH (a reload loads new code; a container or a release replaces the arbiter).
 */
export const requests: Readonly<Partial<Record<NodeJS.Signals, Request>>> = {
  SIGTERM: 'stop',
  SIGINT: 'quit',
  SIGQUIT: 'quit',
  SIGHUP: 'reload',
  SIGTTIN: 'more',
  SIGTTOU: 'fewer',
  SIGUSR1: 'ignore',
  SIGUSR2: 'ignore'
}

/** Whether a process that died of this signal had been requested to exit. */
export const isStopSignal = (signal: NodeJS.Signals | null): boolean =>
  signal !== null && ['stop', 'quit'].includes(requests[signal] ?? '')

/**
 * Signals that workers and hashers ignore: they are meant for the arbiter, and may reach all (`pkill -HUP keyturn`).
 * Without a handler HUP and USR2 would end them, TTIN and TTOU stop them, and USR1 open Node's inspector.
 */
export const ignoredByChildren: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGTTIN',
  'SIGTTOU',
  'SIGUSR1',
  'SIGUSR2',
  'SIGWINCH'
]

/** How long a quick stop (SIGINT, SIGQUIT) lets requests in flight finish, in milliseconds. */
export const quickGrace = 1000
