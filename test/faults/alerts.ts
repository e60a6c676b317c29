/*
 * Which alert fires for which fault, and after how long: a real Prometheus scrapes a running Keyturn on real stores, with the rules
 * that ship. Their durations are divided by `speed`, and so is the interval of the scrapes, so that the suite takes minutes
 * instead of an hour; thresholds are the shipped ones, also those in seconds, such as the age of the revocation feed.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { login, until } from '../support/arbiter.ts'
import { runKeyturn } from '../support/keyturn.ts'
import { aModule } from '../support/modules.ts'
import { type Labels, type Prometheus, shippedInterval, startPrometheus } from '../support/prometheus.ts'
import { startTraffic } from '../support/traffic.ts'
import { gather, restoreAll, saveAll, send } from './crowd.ts'
import { freezeAll, hideTable } from './hands.ts'
import { openScope, openServers, type ServersWorld } from './worlds.ts'

const speed = 15

/** Longer than every range of the rules and what follows it, in seconds: what happened before does not count any more. */
const quietFor = (10 * 60 + 2 * 60) / speed

interface AlertWorld extends ServersWorld {
  /** A user whose logins block their worker for 0.4 s each. */
  readonly slowUser: { readonly username: string; readonly password: string }
}

interface AlertFault {
  readonly name: string
  /** The alerts that fire, as `describe` names them. */
  readonly alerts: readonly string[]
  /** Alerts that fire only if a request comes at the right moment. */
  readonly possible?: readonly string[]
  /** Makes it happen, and returns what ends it. `startClock` is called after a preparation, which does not count. */
  readonly begin: (world: AlertWorld, startClock: () => void) => Promise<() => unknown>
}

export interface AlertOutcome {
  readonly name: string
  readonly missing: readonly string[]
  readonly unexpected: readonly string[]
  /** The alerts that began to fire, with the seconds from the beginning of the fault until then. */
  readonly fired: ReadonlyMap<string, number>
}

const nothing = (): void => {}

/** Calls `act` again and again until the function returned is called, which resolves once the last call has ended. */
function repeatedly(act: () => Promise<unknown>, pauseMs = 0): () => Promise<void> {
  let isOver = false
  const running = (async () => {
    while (!isOver) {
      await act()
      await delay(pauseMs)
    }
  })()
  return async () => {
    isOver = true
    await running
  }
}

const storm = ({ keyturn }: AlertWorld): (() => Promise<unknown>) => {
  const loops = Array.from({ length: 30 }, () => repeatedly(() => send(`${keyturn.url}/api/token/`, login)))
  return () => Promise.all(loops.map((stop) => stop()))
}

const day = 86_400

/** REFRESH_REUSE_GRACE, in milliseconds: Redis counts whole seconds. */
const graceMs = 2000

const faults: readonly AlertFault[] = [
  {
    name: 'nothing, with the usual traffic',
    alerts: [],
    async begin() {
      await delay(quietFor * 1000)
      return nothing
    }
  },
  {
    name: 'Redis is down',
    alerts: ['KeyturnStoreFailing Redis'],
    async begin({ redis }) {
      await redis.kill()
      return () => redis.restart()
    }
  },
  {
    name: 'Redis answers, but the revocation feed cannot be read (ACL)',
    alerts: ['KeyturnRevocationFeedSilent'],
    async begin({ admin }) {
      const id = (await admin.client('LIST')) as string
      await admin.call('ACL', 'SETUSER', 'default', '-xread')
      // A read that is in progress goes on.
      for (const [, reader] of id.matchAll(/\bid=(\d+).* cmd=xread /g)) await admin.client('KILL', 'ID', Number(reader))
      return () => admin.call('ACL', 'SETUSER', 'default', '+xread')
    }
  },
  {
    name: 'a worker dies as soon as it is ready, again and again',
    alerts: ['KeyturnProcessesDying', 'KeyturnProcessesNotReady'],
    async begin({ keyturn }) {
      return repeatedly(async () => {
        const newest = keyturn.ready('worker')[1]
        try {
          if (newest !== undefined) process.kill(newest, 'SIGKILL')
        } catch {} // its exit is not in the log yet
      }, 20)
    }
  },
  { name: 'a storm of logins', alerts: ['KeyturnLoginsRefused'], begin: async (world) => storm(world) },
  {
    name: 'stolen refresh tokens are presented',
    alerts: ['KeyturnReuseRising'],
    async begin({ keyturn: { url } }, startClock) {
      const victims = await gather(url, login, 40)
      for (let each = 0; each < 2; each++) await victims.refreshUntilServed(url)
      await delay(2 * graceMs)
      const tokens = victims.members.map(({ superseded: [first = ''] }) => first)
      startClock()
      const stop = repeatedly(() => send(`${url}/api/token/refresh/`, { refresh: tokens.pop() ?? '' }), 250)
      return async () => {
        await stop()
        victims.close()
      }
    }
  },
  {
    name: 'Redis fails over and loses writes',
    alerts: ['KeyturnSessionsRecovered'],
    async begin({ admin, keyturn: { url } }, startClock) {
      const crowd = await gather(url, login, 5)
      const before = await saveAll(admin)
      await crowd.refreshUntilServed(url)
      startClock()
      await restoreAll(admin, before)
      await crowd.refreshUntilServed(url)
      crowd.close()
      return nothing
    }
  },
  {
    name: 'the table of the audit trail is missing',
    alerts: ['KeyturnAuditEntriesLost'],
    begin: ({ postgres }) => hideTable(postgres.url, 'keyturn_audit')
  },
  {
    name: 'PostgreSQL hangs',
    alerts: ['KeyturnStoreFailing PostgreSQL'],
    // A logout that has taken effect cannot be recorded.
    possible: ['KeyturnAuditEntriesLost'],
    begin: ({ postgres }) => freezeAll(postgres.url)
  },
  {
    name: 'standard output is not read',
    alerts: ['KeyturnLogLinesDropped'],
    async begin({ keyturn: { url, child } }) {
      child.stdout?.pause()
      const call = { method: 'POST', path: '/api/token/verify/', status: 400, body: { token: 'x' } } as const
      const traffic = startTraffic(url, [call], { kept: 16, fresh: 0, pause: 0 })
      return async () => {
        await traffic.stop()
        child.stdout?.resume()
      }
    }
  },
  {
    name: 'a function of the operator blocks the workers',
    alerts: ['KeyturnEventLoopSlow'],
    async begin({ keyturn: { url }, slowUser }) {
      const loops = Array.from({ length: 2 }, () => repeatedly(() => send(`${url}/api/token/`, slowUser), 200))
      return () => Promise.all(loops.map((stop) => stop()))
    }
  },
  {
    name: 'the table of the keys is missing, and the signing key is due',
    // Only keys are read meanwhile, so every call to PostgreSQL fails.
    alerts: ['KeyturnSigningKeyOld', 'KeyturnStoreFailing PostgreSQL'],
    async begin({ postgres, setClock, clients }) {
      await clients.stop()
      const restore = await hideTable(postgres.url, 'keyturn_keys')
      // KEY_ROTATION_INTERVAL is 30 days.
      await setClock(32 * day)
      return async () => {
        await setClock(0)
        await restore()
      }
    }
  },
  {
    name: 'the arbiter is killed',
    alerts: ['KeyturnDown'],
    async begin({ keyturn }) {
      process.kill(keyturn.pid, 'SIGKILL')
      return nothing
    }
  }
]

const token = 'a token of tests'

/** Makes the faults happen whose names have `part`, one after the other, and reports each. */
export async function playAlerts(report: (outcome: AlertOutcome) => void, part = ''): Promise<void> {
  const scope = openScope()
  try {
    const world = await openAlertWorld()
    scope.teardown(() => world.close())
    const prometheus = await startPrometheus(scope, {
      targets: [new URL(world.keyturn.url).host],
      token,
      interval: shippedInterval / speed,
      speed
    })
    // Rates and offsets need a history.
    await delay(quietFor * 1000)
    for (const fault of faults.filter(({ name }) => name.includes(part)))
      report(await inflict(world, fault, prometheus))
  } finally {
    await scope.close()
  }
}

async function openAlertWorld(): Promise<AlertWorld> {
  const scope = openScope()
  const slowUser = { username: 'slow', password: 'a slow password' }
  const claims = aModule(
    scope,
    `export default ({ username }) => {
       const until = performance.now() + (username === '${slowUser.username}' ? 400 : 0)
       while (performance.now() < until);
       return {}
     }`
  )
  const world = await openServers({
    METRICS_TOKEN: token,
    HASH_QUEUE: '4',
    CLAIMS_MODULE: claims,
    TIMEOUT: '30',
    REFRESH_REUSE_GRACE: `${graceMs / 1000}s`
  })
  const { settings } = world.keyturn
  const created = await runKeyturn(['users', 'create', slowUser.username], settings, slowUser.password)
  if (created.code !== 0) throw new Error(created.stderr)
  const close = async (): Promise<void> => {
    await world.close()
    await scope.close()
  }
  return { ...world, slowUser, close }
}

/** The alert, and the store that it is about. */
const describe = ({ alertname = '', store }: Labels): string =>
  store === undefined ? alertname : `${alertname} ${store}`

async function inflict(world: AlertWorld, fault: AlertFault, prometheus: Prometheus): Promise<AlertOutcome> {
  const firing = async (): Promise<ReadonlySet<string>> => new Set((await prometheus.firing()).map(describe))
  const isAny = (alerts: ReadonlySet<string>): boolean => fault.alerts.some((alert) => alerts.has(alert))
  await until(async () => !isAny(await firing()), `${fault.alerts} have ended`)
  const before = await firing()
  const fired = new Map<string, number>()
  let began = performance.now()
  const startClock = (): void => {
    began = performance.now()
  }
  const watch = repeatedly(async () => {
    for (const alert of await firing())
      if (!before.has(alert) && !fired.has(alert)) fired.set(alert, (performance.now() - began) / 1000)
  }, 50)
  const missing = (): readonly string[] => fault.alerts.filter((alert) => !fired.has(alert))
  try {
    const end = await fault.begin(world, startClock)
    await until(() => missing().length === 0, fault.name).catch(() => {})
    await end()
  } finally {
    await watch()
  }
  const known = [...fault.alerts, ...(fault.possible ?? [])]
  const unexpected = [...fired.keys()].filter((alert) => !known.includes(alert))
  return { name: fault.name, missing: missing(), unexpected, fired }
}

export const alertHeading = [
  `| fault | alert | after, with rules ${speed} times as fast | that is |`,
  '| --- | --- | --- | --- |'
].join('\n')

/** One row of Markdown. */
export function alertRow({ name, fired }: AlertOutcome): string {
  const each = (cell: (alert: string, seconds: number) => string): string =>
    [...fired].map(([alert, seconds]) => cell(alert, seconds)).join(', ') || 'none'
  const cells = [
    name,
    each((alert) => `\`${alert.split(' ')[0]}\`${alert.includes(' ') ? ` (${alert.split(' ')[1]})` : ''}`),
    each((_, seconds) => `${seconds.toFixed(1)} s`),
    each((_, seconds) => `${((seconds * speed) / 60).toFixed(1)} min`)
  ]
  return `| ${cells.join(' | ')} |`
}
