import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { claimNames } from '../src/config/claim-names.ts'
import type { Config } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import {
  type Actor,
  type ManagementScope,
  makeRecordAct,
  makeUsersForAct,
  type RecordAct
} from '../src/flows/management/act.ts'
import { type Management, makeManagement } from '../src/flows/management/index.ts'
import { digestOf } from '../src/flows/management/users.ts'
import { valuesOf } from '../src/header-fields.ts'
import { rotationPolicy } from '../src/keys/keyring.ts'
import type { Limit } from '../src/limits/limiter.ts'
import { passwordPolicy } from '../src/passwords/policy.ts'
import type { Clock } from '../src/time.ts'
import { readBearer } from '../src/tokens/bearer.ts'
import { callerAddress } from './forwarded.ts'
import { callerNetwork, throttled } from './rate-limit.ts'

/** The number of failed authentications after which the tokens of an address are no longer checked. */
const failuresOfAddress: Limit = { max: 100, window: 60, isClosed: false }

/**
 * The management flows as `app.manage`, and `onRequest: app.admit(scope)`, which admits clients and users with the scope and
 * sets `request.actor`.
 */
async function admin(app: FastifyInstance, { config, clock }: { config: Config; clock: Clock }): Promise<void> {
  const { stores, hasher } = app
  const manage = makeManagement({
    users: stores.users,
    sessions: stores.sessions,
    clients: stores.clients,
    oneTimeTokens: stores.oneTimeTokens,
    clock,
    keyring: {
      store: stores.keys,
      secret: stores.keySecret,
      previousSecret: config.keyEncryptionSecretPrevious,
      clock
    },
    isFixed: config.signingKey !== undefined,
    rotation: rotationPolicy(config),
    record: loggingLosses(app, makeRecordAct(app.auditTrail, clock)),
    usersForAct: makeUsersForAct(app.usersWith, clock),
    claimNames: claimNames(config),
    scopesByHook: app.flows.scopesByHook,
    activity: app.activity
  })
  const policy = passwordPolicy(config)
  app.decorate('manage', manage)
  app.decorate('digestOf', (password, username) => digestOf(password, username, { hasher, passwordPolicy: policy }))
  app.decorateRequest('actor')
  app.decorate('admit', makeAdmit(app, config))
  app.decorate('isStillAdmitted', async (request, scope) => {
    try {
      await app.flows.authorize(tokenOf(request, config), scope)
      return true
    } catch (error) {
      return error instanceof KeyturnError && error.status === 503 && !app.revocations.isStale()
    }
  })
}

/** The same; entries that could not be written are logged, as for requests (plugins/audit.ts). */
function loggingLosses(app: FastifyInstance, record: RecordAct): RecordAct {
  return async (event, by, on) => {
    try {
      await record(event, by, on)
    } catch (error) {
      app.tallies.auditLost += 1
      const { requestId: reqId, actor, ip } = by
      app.log.error({ reqId, err: error, event, actor, ip, ...on }, 'audit entry could not be written')
      throw error
    }
  }
}

const tokenOf = ({ raw }: FastifyRequest, { authHeaderTypes }: Config): string =>
  readBearer(valuesOf(raw, 'authorization'), authHeaderTypes, { anyCase: true })

function makeAdmit(app: FastifyInstance, config: Config) {
  return (scope: ManagementScope) =>
    async function admit(request: FastifyRequest): Promise<void> {
      const name = `admin:${callerNetwork(request)}`
      const isLimited = !app.isUnlimited(request)
      const wait = isLimited ? app.limiter.waitFor(name, failuresOfAddress) : undefined
      if (wait !== undefined) throw throttled(wait)
      try {
        const principal = await app.flows.authorize(tokenOf(request, config), scope)
        request.actor = { ...principal, ip: callerAddress(request), requestId: request.id }
      } catch (error) {
        if (isLimited && error instanceof KeyturnError && error.status === 401) {
          const { number, left } = await app.limiter.count(name, failuresOfAddress)
          if (number > failuresOfAddress.max) throw throttled(left)
        }
        throw error
      }
    }
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The management flows. */
    manage: Management
    /** Checks and hashes a password that is to be set: src/flows/management/users.ts. */
    digestOf(password: string, username: string): Promise<string>
    /** A hook that admits only requests with this scope. */
    admit(scope: ManagementScope): (request: FastifyRequest) => Promise<void>
    /**
     * Whether a request that was admitted would be admitted again, for responses that last; never rejects. While a store is down, the
     * request counts as admitted, until the revocations have been unknown for longer than REVOCATION_STALENESS.
     */
    isStillAdmitted(request: FastifyRequest, scope: ManagementScope): Promise<boolean>
  }
  interface FastifyRequest {
    /** Set only in management routes. */
    actor: Actor
  }
}

export default fp(admin, {
  name: 'admin',
  dependencies: ['flows', 'audit', 'passwords', 'rate-limit', 'client', 'sessions', 'activity']
})
