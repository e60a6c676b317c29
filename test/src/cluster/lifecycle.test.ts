import fc from 'fast-check'
import t, { type Test } from 'tap'
import {
  type Action,
  bootError,
  type Event,
  lifecycle,
  maxBarren,
  type PoolSummary,
  type Settings,
  type State
} from '../../../src/cluster/lifecycle.ts'

const now = 100_000

const settings: Settings = {
  workers: 2,
  hashers: 1,
  timeout: 30_000,
  gracefulTimeout: 20_000,
  shutdownDelay: 5000,
  hashQueue: 64
}
const changed: Settings = { ...settings, workers: 5, gracefulTimeout: 10_000, shutdownDelay: 0 }

const booting: State = { phase: 'booting', settings }
const serving: State = { phase: 'serving', settings, readyAt: now - 100, lastFailure: '' }
const reloading: State = {
  ...serving,
  phase: 'reloading',
  settings: changed,
  previous: settings,
  isRequestedAgain: false
}
const stopping: State = { phase: 'stopping', exitCode: 0 }
const failing: State = { phase: 'stopping', exitCode: bootError }
const stopped: State = { phase: 'stopped', exitCode: 0 }

const settled: PoolSummary = { count: 2, ready: 2, isSettled: true }
const unsettled: PoolSummary = { count: 3, ready: 2, isSettled: false }
const barren: PoolSummary = { count: 2, ready: 0, isSettled: false }
const empty: PoolSummary = { count: 0, ready: 0, isSettled: false }
const observed = (workers: PoolSummary, hashers: PoolSummary = workers): Event => ({
  type: 'observed',
  workers,
  hashers
})
const signal = (type: 'stop' | 'quit' | 'reload' | 'more' | 'fewer'): Event => ({ type })
const loaded: Event = { type: 'loaded', settings: changed }
const loadFailed: Event = { type: 'loadFailed', reason: 'PORT: wrong' }
const bootFailed: Event = { type: 'bootFailed', reason: 'no claims today' }

const info = (message: string, facts = {}): Action => ({ type: 'log', level: 'info', message, facts })
const error = (message: string, reason: string): Action => ({ type: 'log', level: 'error', message, facts: { reason } })
const stopActions = (delay: number, grace: number): Action[] => [
  info('Keyturn stopping'),
  { type: 'closeSockets' },
  { type: 'drainWorkers', delay, grace }
]
const quickDrain: Action = { type: 'drainWorkers', delay: 0, grace: 1000 }

type Row = readonly [what: string, state: State, event: Event, next: State, actions?: readonly Action[]]

/** Checks transitions; those without `actions` have none. */
function check(t: Test, rows: readonly Row[]): void {
  for (const [what, state, event, next, actions = []] of rows)
    t.same(lifecycle(state, event, now), { state: next, actions }, what)
}

/** Checks that events do nothing in a state. */
function checkIgnored(t: Test, state: State, events: readonly Event[]): void {
  check(
    t,
    events.map((event) => [`${event.type} is ignored`, state, event, state])
  )
}

t.test('lifecycle, booting: serves once both pools are settled, and gives up at the first failure', async (t) => {
  const up: State = { phase: 'serving', settings, readyAt: now, lastFailure: '' }
  check(t, [
    ['some are not ready', booting, observed(unsettled), booting],
    ['the hashers are not ready', booting, observed(settled, unsettled), booting],
    ['all are ready', booting, observed(settled), up, [{ type: 'greet' }]],
    ['stop', booting, signal('stop'), stopping, stopActions(5000, 20_000)],
    ['quit', booting, signal('quit'), stopping, stopActions(0, 1000)],
    [
      'a process fails to boot',
      booting,
      bootFailed,
      failing,
      [{ type: 'print', reason: 'no claims today' }, { type: 'kill' }]
    ]
  ])
  checkIgnored(t, booting, [signal('reload'), signal('more'), signal('fewer'), loaded, loadFailed, observed(barren)])
})

t.test(
  'lifecycle, serving: reloads and resizes, retries failed boots, and gives up without a ready worker',
  async (t) => {
    const failed: State = { ...serving, lastFailure: 'no claims today' }
    const resized = (workers: number): State => ({ ...serving, settings: { ...settings, workers } })
    const apply = (workers: number): Action => ({ type: 'apply', settings: { ...settings, workers } })
    const single: State = { ...serving, settings: { ...settings, workers: 1 } }
    const long: State = { ...failed, readyAt: now - maxBarren - 1 }
    check(t, [
      ['stop', serving, signal('stop'), stopping, stopActions(5000, 20_000)],
      ['quit', serving, signal('quit'), stopping, stopActions(0, 1000)],
      ['reload', serving, signal('reload'), serving, [{ type: 'load' }]],
      [
        'the configuration is valid',
        serving,
        loaded,
        reloading,
        [info('Keyturn reloading'), { type: 'renew' }, { type: 'apply', settings: changed }]
      ],
      [
        'the configuration is invalid',
        serving,
        loadFailed,
        serving,
        [error('reload aborted: invalid configuration', 'PORT: wrong')]
      ],
      ['more', serving, signal('more'), resized(3), [info('worker count changed', { workers: 3 }), apply(3)]],
      ['fewer', serving, signal('fewer'), resized(1), [info('worker count changed', { workers: 1 }), apply(1)]],
      ['never none', single, signal('fewer'), single, [info('worker count changed', { workers: 1 }), apply(1)]],
      [
        'a replacement fails to boot',
        serving,
        bootFailed,
        failed,
        [error('process failed to boot; retrying', 'no claims today')]
      ],
      ['a worker is ready', failed, observed(unsettled), { ...failed, readyAt: now }],
      ['no worker is ready', failed, observed(barren), failed],
      [
        'not for a minute',
        { ...failed, readyAt: now - maxBarren },
        observed(barren),
        { ...failed, readyAt: now - maxBarren }
      ],
      [
        'for longer than a minute',
        long,
        observed(barren),
        failing,
        [{ type: 'print', reason: 'no claims today' }, { type: 'kill' }]
      ],
      ['back in time', long, observed(settled), { ...long, readyAt: now }]
    ])
  }
)

t.test('lifecycle, reloading: ends with only new processes, or with the old ones when a new one fails', async (t) => {
  const again: State = { ...reloading, isRequestedAgain: true }
  const done: State = { ...serving, settings: changed, readyAt: now }
  const aborted: State = { ...serving, lastFailure: 'no claims today' }
  const abort: readonly Action[] = [
    error('reload aborted: a new process failed to boot', 'no claims today'),
    { type: 'revert' },
    { type: 'apply', settings }
  ]
  const more: State = { ...reloading, settings: { ...changed, workers: 6 } }
  check(t, [
    ['old processes serve too', reloading, observed(unsettled), { ...reloading, readyAt: now }],
    ['the hashers are not settled', reloading, observed(settled, unsettled), { ...reloading, readyAt: now }],
    ['only new processes serve', reloading, observed(settled), done, [{ type: 'announceReload' }]],
    ['a new process fails to boot', reloading, bootFailed, aborted, abort],
    ['reload', reloading, signal('reload'), again],
    ['reload, many times', again, signal('reload'), again],
    ['a configuration that was loaded for another request', reloading, loaded, again],
    [
      'it succeeds, and was requested again',
      again,
      observed(settled),
      done,
      [{ type: 'announceReload' }, { type: 'load' }]
    ],
    ['it fails, and was requested again', again, bootFailed, aborted, [...abort, { type: 'load' }]],
    [
      'more',
      reloading,
      signal('more'),
      more,
      [info('worker count changed', { workers: 6 }), { type: 'apply', settings: { ...changed, workers: 6 } }]
    ],
    ['a failed reload takes that back', more, bootFailed, aborted, abort],
    ['stop, with the new settings', reloading, signal('stop'), stopping, stopActions(0, 10_000)],
    ['stop, though another reload was requested', again, signal('stop'), stopping, stopActions(0, 10_000)],
    ['quit', reloading, signal('quit'), stopping, stopActions(0, 1000)],
    [
      'no worker for longer than a minute',
      { ...reloading, readyAt: now - maxBarren - 1, lastFailure: 'out of memory' },
      observed(barren),
      failing,
      [{ type: 'print', reason: 'out of memory' }, { type: 'kill' }]
    ]
  ])
})

t.test('lifecycle, stopping: workers exit before hashers, and nothing starts again', async (t) => {
  const drainHashers: Action = { type: 'drainHashers', delay: 0, grace: 1000 }
  check(t, [
    ['workers are left', stopping, observed(barren), stopping],
    ['only hashers are left', stopping, observed(empty, settled), stopping, [drainHashers]],
    ['none is left', stopping, observed(empty), stopped, [info('Keyturn stopped'), { type: 'exit', code: 0 }]],
    ['quit shortens the drain', stopping, signal('quit'), stopping, [quickDrain]],
    [
      'none is left after giving up',
      failing,
      observed(empty),
      { ...failing, phase: 'stopped' },
      [{ type: 'exit', code: 3 }]
    ],
    ['quit after giving up', failing, signal('quit'), failing, [quickDrain]]
  ])
  const others = [signal('stop'), signal('reload'), signal('more'), signal('fewer'), loaded, loadFailed, bootFailed]
  checkIgnored(t, stopping, others)
  checkIgnored(t, failing, others)
})

t.test('lifecycle, stopped: ignores everything', async (t) => {
  const types = ['stop', 'quit', 'reload', 'more', 'fewer'] as const
  checkIgnored(t, stopped, [...types.map(signal), loaded, loadFailed, bootFailed, observed(empty), observed(settled)])
})

/* Storms: any sequence of events, however unlikely. */
const summary = fc.record({ count: fc.nat(3), ready: fc.nat(3), isSettled: fc.boolean() })
const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ type: fc.constantFrom('stop', 'quit', 'reload', 'more', 'fewer') }),
  fc.constantFrom(loaded, loadFailed, bootFailed),
  fc.record({ type: fc.constant('observed'), workers: summary, hashers: summary })
)

/** The actions of a whole life, from its boot on, with the phase that each one led to. */
function live(events: readonly Event[]): { readonly phase: State['phase']; readonly action: Action }[] {
  let state = booting
  return events.flatMap((event, index) => {
    const next = lifecycle(state, event, now + index * 1000)
    state = next.state
    return next.actions.map((action) => ({ phase: next.state.phase, action }))
  })
}

const storm = fc.array(anyEvent, { maxLength: 60 })

t.test('lifecycle: in any storm of events, nothing starts once the service stops', async () => {
  const starts = ['greet', 'load', 'renew', 'revert', 'apply', 'announceReload']
  fc.assert(
    fc.property(storm, (events) => {
      const life = live(events)
      const end = life.findIndex(({ phase }) => phase === 'stopping')
      return end === -1 || !life.slice(end).some(({ action }) => starts.includes(action.type))
    })
  )
})

t.test(
  'lifecycle: in any storm of events, a stop leads to one exit, with status 0 unless the service gave up',
  async () => {
    fc.assert(
      fc.property(storm, (events) => {
        const life = live([...events, signal('stop'), observed(empty), observed(empty)])
        const exits = life.flatMap(({ action }) => (action.type === 'exit' ? [action.code] : []))
        const gaveUp = life.some(({ action }) => action.type === 'print')
        return exits.length === 1 && exits[0] === (gaveUp ? bootError : 0)
      })
    )
  }
)

t.test('lifecycle: in any storm of events, the worker count stays above zero', async () => {
  fc.assert(
    fc.property(storm, (events) =>
      live(events).every(({ action }) => action.type !== 'apply' || action.settings.workers >= 1)
    )
  )
})
