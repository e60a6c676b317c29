import { maxHeaderSize, type Server } from 'node:http'
import Fastify, { type FastifyBaseLogger, type FastifyHttpOptions, type FastifyInstance, LogController } from 'fastify'
import type { Logger } from 'pino'
import body from '../plugins/body.ts'
import acts from '../plugins/acts.ts'
import activity from '../plugins/activity.ts'
import admin from '../plugins/admin.ts'
import audit from '../plugins/audit.ts'
import auditStreams from '../plugins/audit-streams.ts'
import authentication from '../plugins/authentication.ts'
import client from '../plugins/client.ts'
import connections, { connectionLimits } from '../plugins/connections.ts'
import cookie from '../plugins/cookie.ts'
import cors from '../plugins/cors.ts'
import docs from '../plugins/docs.ts'
import drain from '../plugins/drain.ts'
import errors from '../plugins/errors.ts'
import { fields } from '../plugins/fields.ts'
import flows from '../plugins/flows.ts'
import form from '../plugins/form.ts'
import forwarded, { trustedProxies } from '../plugins/forwarded.ts'
import headers from '../plugins/headers.ts'
import jwt from '../plugins/jwt.ts'
import login from '../plugins/login.ts'
import management from '../plugins/management.ts'
import metrics from '../plugins/metrics.ts'
import negotiation from '../plugins/negotiation.ts'
import passwords from '../plugins/passwords.ts'
import protocol, { refuseBroken, rewriteTarget } from '../plugins/protocol.ts'
import rateLimit from '../plugins/rate-limit.ts'
import requests, { requestIdOf } from '../plugins/requests.ts'
import revocationStreams from '../plugins/revocation-streams.ts'
import sessions from '../plugins/sessions.ts'
import stores from '../plugins/stores.ts'
import tracing from '../plugins/tracing.ts'
import listAudit from '../routes/admin/audit.ts'
import manageClients from '../routes/admin/clients.ts'
import manageKeys from '../routes/admin/keys.ts'
import manageOneTimeTokens from '../routes/admin/one-time-tokens.ts'
import overview from '../routes/admin/overview.ts'
import manageSessions from '../routes/admin/sessions.ts'
import manageUsers from '../routes/admin/users.ts'
import serveConsole from '../routes/console.ts'
import serveDocs from '../routes/docs.ts'
import introspect from '../routes/oauth/introspect.ts'
import revoke from '../routes/oauth/revoke.ts'
import grantToken from '../routes/oauth/token.ts'
import health from '../routes/ops/health.ts'
import serveMetrics from '../routes/ops/metrics.ts'
import changePassword from '../routes/password/change.ts'
import forgotPassword from '../routes/password/forgot.ts'
import resetPassword from '../routes/password/reset.ts'
import revocations from '../routes/revocations.ts'
import endAllSessions from '../routes/sessions/end-all.ts'
import endSession from '../routes/sessions/end.ts'
import listSessions from '../routes/sessions/list.ts'
import blacklist from '../routes/token/blacklist.ts'
import forwardAuth from '../routes/token/forward-auth.ts'
import obtain from '../routes/token/obtain.ts'
import refresh from '../routes/token/refresh.ts'
import sliding from '../routes/token/sliding.ts'
import refreshSliding from '../routes/token/sliding-refresh.ts'
import verifyBatch from '../routes/token/verify-batch.ts'
import verify from '../routes/token/verify.ts'
import jwks from '../routes/well-known/jwks.ts'
import metadata from '../routes/well-known/metadata.ts'
import type { ActivityRecord } from './activity.ts'
import { claimNames } from './config/claim-names.ts'
import type { Config } from './config/settings.ts'
import type { PasswordHasher } from './passwords/hasher.ts'
import { type Clock, systemClock } from './time.ts'
import type { Tracing } from './tracing/tracing.ts'

export interface AppParts {
  readonly log: Logger
  /** The clock of the service; tests set it. */
  readonly clock?: Clock
  /** Hashes passwords; by default in this process. */
  readonly hasher?: PasswordHasher
  /** The metrics of all processes as Prometheus text; by default those of this process. */
  readonly scrape?: () => Promise<string>
  /** The activity of all workers, for the overview; by default that of this process. */
  readonly activity?: ActivityRecord
  /** The number of log lines that were dropped. */
  readonly droppedLines?: () => number
  /** Records and sends spans; closed with the application. */
  readonly tracing?: Tracing | undefined
}

/**
 * The application, ready to listen or to be injected into: what tests, benchmarks and production run. Throws StoreError when
 * a store that the configuration names cannot be used.
 */
export async function buildApp(config: Config, parts: AppParts): Promise<FastifyInstance> {
  const app = Fastify(serverOptions(config, parts.log))
  try {
    await registerPlugins(app, config, parts)
    await registerRoutes(app, config, parts)
    await app.ready()
    return app
  } catch (error) {
    // Resources opened before the error would keep the process running.
    await app.close()
    throw error
  }
}

const serverOptions = (config: Config, log: Logger): FastifyHttpOptions<Server> => ({
  loggerInstance: log as FastifyBaseLogger,
  // plugins/requests.ts writes one line per request.
  logController: new LogController({ disableRequestLogging: true }),
  genReqId: requestIdOf,
  // Log lines contain the request id themselves (plugins/requests.ts).
  childLoggerFactory: (logger) => logger,
  schemaController: fields,
  bodyLimit: config.bodyLimit,
  ...connectionLimits(config),
  // The arbiter ends a boot that hangs, and logs it (src/cluster/plan.ts).
  pluginTimeout: 0,
  return503OnClosing: false,
  forceCloseConnections: false,
  rewriteUrl: rewriteTarget,
  clientErrorHandler: refuseBroken,
  trustProxy: trustedProxies(config.forwardedAllowIps),
  // As long as the header block may be. The route then refuses a parameter that names nothing, after its hooks.
  routerOptions: { ignoreTrailingSlash: true, maxParamLength: maxHeaderSize }
})

/**
 * In boot order, which is also the order of hooks: every hook of a plugin runs before the hooks of the plugins below it.
 * After them come the hooks that a route lists itself, as `onRequest: [app.refuseIfFull, app.refreshCookie.guard]`, and its
 * rate limit comes last. No plugin changes this order (test/src/app.test.ts).
 */
async function registerPlugins(
  app: FastifyInstance,
  config: Config,
  { log, clock = systemClock, hasher, activity: record, droppedLines, tracing: spans }: AppParts
): Promise<void> {
  await app.register(connections, { config })
  await app.register(forwarded)
  await app.register(drain)
  await app.register(errors, { scheme: config.authHeaderTypes[0] ?? 'Bearer' })
  await app.register(acts)
  await app.register(requests, { isLogged: log.isLevelEnabled('info') })
  await app.register(tracing, { tracing: spans })
  await app.register(headers)
  await app.register(cors, { config })
  await app.register(protocol)
  await app.register(management, { config })
  await app.register(metrics, { droppedLines })
  await app.register(negotiation)
  await app.register(body)
  await app.register(stores, { config, clock })
  await app.register(audit, { config, clock })
  await app.register(auditStreams)
  await app.register(rateLimit, { config })
  await app.register(client, { config, clock })
  await app.register(sessions, { config, clock })
  await app.register(activity, { config, clock, activity: record })
  await app.register(revocationStreams, { config, clock })
  await app.register(passwords, { config, hasher })
  await app.register(jwt, { config, clock })
  await app.register(flows, { config, clock })
  await app.register(authentication, { types: config.authHeaderTypes })
  await app.register(admin, { config, clock })
  await app.register(cookie, { config })
  await app.register(login, { types: config.authHeaderTypes })
  await app.register(docs)
}

async function registerRoutes(app: FastifyInstance, config: Config, { scrape }: AppParts): Promise<void> {
  await app.register(obtain)
  await app.register(refresh)
  await app.register(verify)
  await app.register(verifyBatch)
  await app.register(forwardAuth, { config })
  await app.register(blacklist)
  if (config.slidingTokens) {
    await app.register(sliding)
    await app.register(refreshSliding)
  }
  await app.register(listSessions)
  await app.register(endSession)
  await app.register(endAllSessions)
  await app.register(changePassword)
  await app.register(resetPassword)
  await app.register(forgotPassword)
  await app.register(async (oauth) => {
    await oauth.register(form)
    await oauth.register(grantToken)
    await oauth.register(introspect)
    await oauth.register(revoke)
  })
  await app.register(revocations)
  await app.register(manageUsers)
  await app.register(manageSessions)
  await app.register(manageOneTimeTokens)
  await app.register(manageKeys)
  await app.register(manageClients)
  await app.register(listAudit)
  await app.register(overview)
  await app.register(jwks, { maxAge: config.jwksMaxAge })
  await app.register(metadata, { issuer: config.issuer, maxAge: config.jwksMaxAge, names: claimNames(config) })
  await app.register(health)
  await app.register(serveMetrics, { token: config.metricsToken, scrape })
  await app.register(serveDocs)
  if (config.console) await app.register(serveConsole, { scheme: config.authHeaderTypes[0] ?? 'Bearer' })
}
