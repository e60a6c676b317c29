import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { claimNames } from '../src/config/claim-names.ts'
import type { Config } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import { type Actor, type ManagementScope, makeRecordAct } from '../src/flows/management/act.ts'
import { type Management, makeManagement } from '../src/flows/management/index.ts'
import { digestOf } from '../src/flows/management/users.ts'
import { rotationPolicy } from '../src/keys/keyring.ts'
import type { Limit } from '../src/limits/limiter.ts'
import { passwordPolicy } from '../src/passwords/policy.ts'
import type { Clock } from '../src/time.ts'
import { readBearer } from '../src/tokens/bearer.ts'
import { clientNetwork, throttled } from './rate-limit.ts'

/** Failed authentications of an address, after which its tokens are no longer looked at. */
const failuresOfAddress: Limit = { max: 100, window: 60, isClosed: false }

/**
 * The management flows as `app.manage`, and `onRequest: app.admit(scope)`, which lets in clients and users with the scope and
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
    record: makeRecordAct(app.auditTrail, clock),
    claimNames: claimNames(config)
  })
  const policy = passwordPolicy(config)
  app.decorate('manage', manage)
  app.decorate('digestOf', (password, username) => digestOf(password, username, { hasher, passwordPolicy: policy }))
  app.decorateRequest('actor')
  app.decorate('admit', makeAdmit(app, config))
}

function makeAdmit(app: FastifyInstance, { authHeaderTypes }: Config) {
  return (scope: ManagementScope) =>
    async function admit(request: FastifyRequest): Promise<void> {
      const name = `admin:${clientNetwork(request)}`
      const isLimited = !app.isUnlimited(request)
      const wait = isLimited ? app.limiter.waitFor(name, failuresOfAddress) : undefined
      if (wait !== undefined) throw throttled(wait)
      try {
        const token = readBearer(request.headers.authorization, authHeaderTypes, { anyCase: true })
        request.actor = { ...(await app.flows.authorize(token, scope)), ip: request.ip, requestId: request.id }
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
    /** What operators and other services may do. */
    manage: Management
    /** Checks and hashes a password that is to be set: src/flows/management/users.ts. */
    digestOf(password: string, username: string): Promise<string>
    /** A hook that admits only requests with this scope. */
    admit(scope: ManagementScope): (request: FastifyRequest) => Promise<void>
  }
  interface FastifyRequest {
    /** Set only in management routes. */
    actor: Actor
  }
}

export default fp(admin, { name: 'admin', dependencies: ['flows', 'audit', 'passwords', 'rate-limit', 'client'] })
