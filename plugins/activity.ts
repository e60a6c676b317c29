import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import {
  type ActivityEvent,
  ActivityHistory,
  type ActivityRecord,
  activityEvents,
  byEvent,
  countDuration,
  noActivity,
  takeGrowth
} from '../src/activity.ts'
import type { Config } from '../src/config/settings.ts'
import type { Clock } from '../src/time.ts'
import { eventOf } from './requests.ts'

/** How often a worker reports what it has counted, in milliseconds. */
const reportEvery = 1000

export interface ActivityOptions {
  readonly config: Config
  readonly clock: Clock
  /** The history of all workers; by default that of this process. */
  readonly activity: ActivityRecord | undefined
}

/**
 * Reports once a second to the history of the service what the overview shows: the results that the metrics have counted since, and
 * durations in buckets that are finer than theirs.
 */
async function activity(app: FastifyInstance, { config, clock, activity: shared }: ActivityOptions): Promise<void> {
  const record = shared ?? makeOwnRecord(config, clock)
  const reported = byEvent(() => new Map<string, number>())
  let counted = noActivity()
  const report = (): void => {
    counted.results = byEvent((event) => takeGrowth(app.resultCounts[event], reported[event]))
    counted.revocationLagMs = app.revocations.ageMs()
    record.add(counted)
    counted = noActivity()
  }
  app.addHook('onSend', (request, reply, payload, done) => {
    if (reply.statusCode >= 500) counted.errors += 1
    const event = eventOf(request)
    if (isCounted(event)) countDuration(counted.durations[event], reply.elapsedTime / 1000)
    done(null, payload)
  })
  const timer = setInterval(report, reportEvery)
  timer.unref()
  app.addHook('onClose', async () => {
    clearInterval(timer)
    report()
  })
  app.decorate('activity', {
    async read() {
      report()
      return await record.read()
    }
  })
}

const isCounted = (event: string | undefined): event is ActivityEvent =>
  (activityEvents as readonly (string | undefined)[]).includes(event)

/** The history of an application that runs alone, as in tests. */
function makeOwnRecord({ hashQueue: capacity }: Config, clock: Clock): ActivityRecord {
  const history = new ActivityHistory(clock())
  return {
    add: (each) => history.add(each, clock()),
    read: async () => ({ ...history.read(clock()), workers: 1, hashers: 0, hashQueue: { waiting: 0, capacity } })
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    readonly activity: Pick<ActivityRecord, 'read'>
  }
}

export default fp(activity, { name: 'activity', dependencies: ['requests', 'metrics', 'sessions'] })
