import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { buildApp } from '../app.ts'
import { openLog } from '../cluster/log.ts'
import { ConfigError, loadConfig } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { checkSigningKey } from '../keys/import.ts'

/** How long a quick stop (SIGINT, SIGQUIT) lets requests in flight finish, in milliseconds. */
const quickGrace = 1000

/** `keyturn serve`: answers requests until SIGTERM, SIGINT or SIGQUIT. Throws ConfigError or StoreError when it cannot start. */
export async function serve(): Promise<void> {
  const config = loadConfig(process.env, checkSigningKey)
  const log = await openLog(config)
  const app = await buildApp(config, { log })
  // A closed pipe (`keyturn serve | head`) must not end the service.
  process.stdout.on('error', () => {})
  try {
    await listen(app, config)
    await greet(app, config)
  } catch (error) {
    await app.close()
    throw error
  }
  process.on('SIGTERM', () => void stop(app, config.gracefulTimeout * 1000))
  for (const signal of ['SIGINT', 'SIGQUIT']) process.on(signal, () => void stop(app, quickGrace))
}

async function listen(app: FastifyInstance, { port, host }: Config): Promise<void> {
  try {
    await app.listen({ port, host, listenTextResolver: (address) => `Keyturn listens on ${address}` })
  } catch (error) {
    const reason =
      (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
        ? 'something else listens there already'
        : (error as Error).message
    throw new ConfigError([`PORT: cannot listen on ${host} port ${port}, ${reason}.`])
  }
}

async function stop(app: FastifyInstance, graceMs: number): Promise<void> {
  app.log.info('Keyturn stops')
  await app.drain(graceMs)
}

/** Tells whoever starts it for the first time where the data is and what to do next. */
async function greet(app: FastifyInstance, config: Config): Promise<void> {
  if (config.databaseUrl !== undefined) return
  app.log.info(`Users and keys are kept in ${config.dataDir}, since DATABASE_URL is not set`)
  if (config.redisUrl === undefined) app.log.info(`Sessions are kept in ${config.dataDir}, since REDIS_URL is not set`)
  if ((await app.stores.users.list('', 1)).length > 0) return
  const { port } = app.server.address() as AddressInfo
  const url = `http://${config.host}:${port}/api/token/`
  const keyturn = process.env.npm_lifecycle_event === 'start' ? 'npm run -s keyturn --' : 'keyturn'
  app.log.info(`There are no users yet. In another terminal, create one:  ${keyturn} users create vitor`)
  app.log.info(`Then log in:  curl -d username=vitor -d password=... ${url}`)
}
