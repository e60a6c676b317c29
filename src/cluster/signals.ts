/** What an operator may ask of the arbiter. */
export type Request = 'stop' | 'quit' | 'reload' | 'more' | 'fewer' | 'note'

/**
 * What a signal means to the arbiter. Source: Gunicorn's, but for USR1 (there are no log files to reopen) and USR2 with
 * WINCH (a container or a release replaces the whole).
 */
export const requests: Readonly<Partial<Record<NodeJS.Signals, Request>>> = {
  SIGTERM: 'stop',
  SIGINT: 'quit',
  SIGQUIT: 'quit',
  SIGHUP: 'reload',
  SIGTTIN: 'more',
  SIGTTOU: 'fewer',
  SIGUSR1: 'note',
  SIGUSR2: 'note'
}

/**
 * What workers and hashers do not hear: it is meant for the arbiter, and may reach all (`pkill -HUP keyturn`).
 * Unhandled, HUP and USR2 would end them, TTIN and TTOU stop them, and USR1 open Node's inspector.
 */
export const unheard: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGTTIN', 'SIGTTOU', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH']

/** How long a quick stop (SIGINT, SIGQUIT) lets requests in flight finish, in milliseconds. */
export const quickGrace = 1000
