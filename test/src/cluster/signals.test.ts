import { constants } from 'node:os'
import t from 'tap'
import { requests, unheard } from '../../../src/cluster/signals.ts'

/** What ends or stops a process that does not hear it, or makes Node open its inspector. Source: signal(7). */
const dangerous = ['SIGHUP', 'SIGTTIN', 'SIGTTOU', 'SIGUSR1', 'SIGUSR2'] as const

t.test('the table, as Gunicorn has it', async (t) => {
  t.same(requests, {
    SIGTERM: 'stop',
    SIGINT: 'quit',
    SIGQUIT: 'quit',
    SIGHUP: 'reload',
    SIGTTIN: 'more',
    SIGTTOU: 'fewer',
    SIGUSR1: 'note',
    SIGUSR2: 'note'
  })
})

t.test('nobody is ended by what may be sent to all', async (t) => {
  for (const signal of dangerous) {
    t.ok(signal in requests, `the arbiter hears ${signal}`)
    t.ok(unheard.includes(signal), `the others do not mind ${signal}`)
  }
  t.notOk(unheard.some((signal) => ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGABRT'].includes(signal)))
  for (const signal of [...Object.keys(requests), ...unheard]) t.ok(signal in constants.signals, signal)
})
