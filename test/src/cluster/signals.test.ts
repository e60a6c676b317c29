import { constants } from 'node:os'
import t from 'tap'
import { requests, ignoredByChildren } from '../../../src/cluster/signals.ts'

/** Without a handler these end or stop a process, or make Node open its inspector. Source: signal(7). */
const dangerous = ['SIGHUP', 'SIGTTIN', 'SIGTTOU', 'SIGUSR1', 'SIGUSR2'] as const

t.test('signals: the arbiter handles what Gunicorn does', async (t) => {
  t.same(requests, {
    SIGTERM: 'stop',
    SIGINT: 'quit',
    SIGQUIT: 'quit',
    SIGHUP: 'reload',
    SIGTTIN: 'more',
    SIGTTOU: 'fewer',
    SIGUSR1: 'ignore',
    SIGUSR2: 'ignore'
  })
})

t.test('signals: none that may reach every process ends one by accident', async (t) => {
  for (const signal of dangerous) {
    t.ok(signal in requests, `the arbiter handles ${signal}`)
    t.ok(ignoredByChildren.includes(signal), `its children ignore ${signal}`)
  }
  t.notOk(ignoredByChildren.some((signal) => ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGABRT'].includes(signal)))
  for (const signal of [...Object.keys(requests), ...ignoredByChildren]) t.ok(signal in constants.signals, signal)
})
