/**
 * The lifecycle of the service, which the arbiter carries out: a pure state machine. It decides what a signal, a failed boot or
 * a finished reload means for the whole service. plan.ts decides how many processes to start or end at a given moment.
 *
 * | state     | the service                                                           | it ends when |
 * | --------- | --------------------------------------------------------------------- | --- |
 * | booting   | starts its first processes, and has never been complete                | all are ready: serving; one fails to boot: stopping, status 3 |
 * | serving   | is complete; single processes are replaced                             | a configuration is loaded for a reload: reloading |
 * | reloading | starts new processes beside the old ones                               | only new ones are left: serving; one fails to boot: back to serving, on the old ones |
 * | stopping  | starts no worker any more; workers drain, then hashers, or all are killed | no process is left: stopped |
 * | stopped   | has exited                                                             | never |
 *
 * In every state but the last two, `stop` and `quit` lead to stopping with status 0. In serving and reloading, a minute without
 * a ready worker leads to stopping with status 3.
 *
 * Any number of signals may arrive in any state. A signal that is not listed for a state has no effect in it:
 * - booting: a reload or a change of the worker count is ignored; the boot already uses the newest configuration.
 * - reloading: reload requests are remembered as one, since the configuration may have been corrected meanwhile; it starts when
 *   the current reload has succeeded or failed. The worker count can change; a failed reload reverts the change.
 * - stopping: a second `stop` changes nothing, `quit` shortens the drain. A reload that was running is forgotten, and a
 *   process that fails to boot now is not replaced.
 */
import { quickGrace } from './signals.ts'

/** Milliseconds without a ready worker after which the service exits, so that its supervisor can react. */
export const maxBarren = 60_000

/** The exit status when no worker can boot. Source: Gunicorn's WORKER_BOOT_ERROR. */
export const bootError = 3

/** The part of the configuration that the arbiter acts on. Durations are milliseconds. */
export interface Settings {
  readonly workers: number
  readonly hashers: number
  /** Silence after which a process counts as hanging; 0 disables the limit. */
  readonly timeout: number
  /** How long requests in flight may take once a process drains. */
  readonly gracefulTimeout: number
  /** How long the service keeps serving after a stop signal, before it drains. */
  readonly shutdownDelay: number
  /** How many logins may wait for a hasher. */
  readonly hashQueue: number
}

/** Serving or reloading. */
interface Running {
  readonly settings: Settings
  /** When a worker was last seen ready. */
  readonly readyAt: number
  /** Why a process last failed to boot. Reported if the service gives up. */
  readonly lastFailure: string
}

export type State =
  | { readonly phase: 'booting'; readonly settings: Settings }
  | ({ readonly phase: 'serving' } & Running)
  | ({
      readonly phase: 'reloading'
      /** The state to which a failed reload returns. */
      readonly previous: Settings
      readonly isRequestedAgain: boolean
    } & Running)
  | { readonly phase: 'stopping' | 'stopped'; readonly exitCode: number }

type InPhase<P extends State['phase']> = Extract<State, { readonly phase: P }>

/** The state of a pool, as far as the lifecycle needs it. */
export interface PoolSummary {
  /** All processes, draining ones too. */
  readonly count: number
  /** Those that serve. */
  readonly ready: number
  /** As many as wanted are ready, none needs a replacement, and no others serve. */
  readonly isSettled: boolean
}

export type Event =
  /** What signals request. */
  | { readonly type: 'stop' | 'quit' | 'reload' | 'more' | 'fewer' }
  /** How a `load` action ended. */
  | { readonly type: 'loaded'; readonly settings: Settings }
  | { readonly type: 'loadFailed'; readonly reason: string }
  /** A process exited before it was ready. */
  | { readonly type: 'bootFailed'; readonly reason: string }
  /** The state of the pools, after each change and ten times a second. */
  | { readonly type: 'observed'; readonly workers: PoolSummary; readonly hashers: PoolSummary }

export type Action =
  | { readonly type: 'log'; readonly level: 'info' | 'error'; readonly message: string; readonly facts?: object }
  /** Announce that the service is up for the first time. */
  | { readonly type: 'greet' }
  /** Log that a reload is complete, with the processes that it started. */
  | { readonly type: 'announceReload' }
  /** Read the configuration again; `loaded` or `loadFailed` follows. */
  | { readonly type: 'load' }
  /** Mark all processes for replacement. */
  | { readonly type: 'renew' }
  /** Keep the processes that were marked, and drain those that were to replace them. */
  | { readonly type: 'revert' }
  /** Size the pools by these settings. */
  | { readonly type: 'apply'; readonly settings: Settings }
  | { readonly type: 'closeSockets' }
  /** Milliseconds. Repeated it can only shorten the drain. */
  | { readonly type: 'drainWorkers'; readonly delay: number; readonly grace: number }
  | { readonly type: 'drainHashers'; readonly delay: number; readonly grace: number }
  | { readonly type: 'kill' }
  /** Print why the service gives up. */
  | { readonly type: 'print'; readonly reason: string }
  | { readonly type: 'exit'; readonly code: number }

export interface Transition {
  readonly state: State
  /** In the order in which they are to be carried out. */
  readonly actions: readonly Action[]
}

/** Returns the next state and the actions for an event. Pure. `now` is in milliseconds of a monotonic clock. */
export function lifecycle(state: State, event: Event, now: number): Transition {
  switch (state.phase) {
    case 'booting':
      return whileBooting(state, event, now)
    case 'serving':
      return whileServing(state, event, now)
    case 'reloading':
      return whileReloading(state, event, now)
    case 'stopping':
      return whileStopping(state, event)
    case 'stopped':
      return stay(state)
  }
}

function whileBooting(state: InPhase<'booting'>, event: Event, now: number): Transition {
  switch (event.type) {
    case 'stop':
    case 'quit':
      return stop(state.settings, event.type)
    case 'bootFailed':
      return giveUp(event.reason)
    case 'observed':
      if (!isSettled(event)) return stay(state)
      return to({ ...state, phase: 'serving', readyAt: now, lastFailure: '' }, { type: 'greet' })
    default:
      return stay(state)
  }
}

function whileServing(state: InPhase<'serving'>, event: Event, now: number): Transition {
  switch (event.type) {
    case 'reload':
      return to(state, { type: 'load' })
    case 'loaded':
      return startReload(state, event.settings)
    case 'bootFailed':
      return to(
        { ...state, lastFailure: event.reason },
        { type: 'log', level: 'error', message: 'process failed to boot; retrying', facts: { reason: event.reason } }
      )
    case 'observed':
      return checkReady(state, event, now)
    default:
      return whileRunning(state, event)
  }
}

function whileReloading(state: InPhase<'reloading'>, event: Event, now: number): Transition {
  switch (event.type) {
    case 'reload':
    case 'loaded':
      return stay({ ...state, isRequestedAgain: true })
    case 'bootFailed':
      return abortReload(state, event.reason)
    case 'observed':
      return isSettled(event) ? finishReload(state, now) : checkReady(state, event, now)
    default:
      return whileRunning(state, event)
  }
}

/** Transitions that are the same in serving and reloading. */
function whileRunning(state: InPhase<'serving' | 'reloading'>, event: Event): Transition {
  switch (event.type) {
    case 'stop':
    case 'quit':
      return stop(state.settings, event.type)
    case 'more':
      return resize(state, state.settings.workers + 1)
    case 'fewer':
      return resize(state, Math.max(1, state.settings.workers - 1))
    case 'loadFailed':
      return to(state, {
        type: 'log',
        level: 'error',
        message: 'reload aborted: invalid configuration',
        facts: { reason: event.reason }
      })
    default:
      return stay(state)
  }
}

function whileStopping(state: InPhase<'stopping' | 'stopped'>, event: Event): Transition {
  if (event.type === 'quit') return to(state, { type: 'drainWorkers', delay: 0, grace: quickGrace })
  // Logins in flight need the hashers until the last worker has exited.
  if (event.type !== 'observed' || event.workers.count > 0) return stay(state)
  if (event.hashers.count > 0) return to(state, { type: 'drainHashers', delay: 0, grace: quickGrace })
  const { exitCode } = state
  const farewell: readonly Action[] = exitCode === 0 ? [info('Keyturn stopped')] : []
  return to({ phase: 'stopped', exitCode }, ...farewell, { type: 'exit', code: exitCode })
}

function stop({ shutdownDelay, gracefulTimeout }: Settings, how: 'stop' | 'quit'): Transition {
  const [delay, grace] = how === 'quit' ? [0, quickGrace] : [shutdownDelay, gracefulTimeout]
  return to(
    { phase: 'stopping', exitCode: 0 },
    info('Keyturn stopping'),
    { type: 'closeSockets' },
    { type: 'drainWorkers', delay, grace }
  )
}

const giveUp = (reason: string): Transition =>
  to({ phase: 'stopping', exitCode: bootError }, { type: 'print', reason }, { type: 'kill' })

function startReload(state: InPhase<'serving'>, settings: Settings): Transition {
  return to(
    { ...state, phase: 'reloading', settings, previous: state.settings, isRequestedAgain: false },
    info('Keyturn reloading'),
    { type: 'renew' },
    { type: 'apply', settings }
  )
}

function finishReload({ settings, lastFailure, isRequestedAgain }: InPhase<'reloading'>, now: number): Transition {
  return to(
    { phase: 'serving', settings, lastFailure, readyAt: now },
    { type: 'announceReload' },
    ...loadIf(isRequestedAgain)
  )
}

function abortReload({ readyAt, previous, isRequestedAgain }: InPhase<'reloading'>, reason: string): Transition {
  return to(
    { phase: 'serving', settings: previous, readyAt, lastFailure: reason },
    { type: 'log', level: 'error', message: 'reload aborted: a new process failed to boot', facts: { reason } },
    { type: 'revert' },
    { type: 'apply', settings: previous },
    ...loadIf(isRequestedAgain)
  )
}

function resize(state: InPhase<'serving' | 'reloading'>, workers: number): Transition {
  const settings = { ...state.settings, workers }
  return to({ ...state, settings }, info('worker count changed', { workers }), { type: 'apply', settings })
}

/** Gives up when no worker has been ready for too long. */
function checkReady(state: InPhase<'serving' | 'reloading'>, { workers }: Observed, now: number): Transition {
  if (workers.ready > 0) return stay({ ...state, readyAt: now })
  return now - state.readyAt > maxBarren ? giveUp(state.lastFailure) : stay(state)
}

type Observed = Extract<Event, { readonly type: 'observed' }>

const isSettled = ({ workers, hashers }: Observed): boolean => workers.isSettled && hashers.isSettled
const info = (message: string, facts: object = {}): Action => ({ type: 'log', level: 'info', message, facts })
const loadIf = (isRequested: boolean): readonly Action[] => (isRequested ? [{ type: 'load' }] : [])
const to = (state: State, ...actions: readonly Action[]): Transition => ({ state, actions })
const stay = (state: State): Transition => to(state)
