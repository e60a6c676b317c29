import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { AuditStreams } from '../src/audit/streams.ts'
import { poll } from '../src/poll.ts'
import { superviseStreams } from './event-streams.ts'

/** How many streams a worker sends: each costs a query when the trail grows. */
const maxStreams = 16

/** How often the trail is polled while there are streams, in milliseconds: one query by primary key. */
const pollEvery = 500

/** The streams of the audit trail to other services. */
async function auditStreams(app: FastifyInstance): Promise<void> {
  const streams = new AuditStreams(app.stores.audit, maxStreams)
  app.decorate('auditStreams', streams)
  superviseStreams(app, {
    tick() {
      streams.tick()
      app.tallies.auditStreamsCut = streams.cut
    },
    end: () => streams.end()
  })
  const poller = poll(() => streams.poll(), {
    intervalMs: pollEvery,
    onOutage: (error) => app.log.warn({ err: error }, 'audit trail could not be read; its streams wait')
  })
  app.addHook('onClose', () => poller.close())
  app.addGauge({
    name: 'keyturn_audit_streams',
    help: 'Open streams of the audit trail',
    aggregator: 'sum',
    read: () => streams.count
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    auditStreams: AuditStreams
  }
}

export default fp(auditStreams, { name: 'audit-streams', dependencies: ['stores', 'drain', 'metrics'] })
