import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { pino } from 'pino'
import type { Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import { type Environment, loadConfig } from '../../src/config/load.ts'
import { makeManualClock } from '../../src/time.ts'
import type { User } from '../../src/users/user.ts'

export type LogLine = Readonly<Record<string, unknown>>

export interface Login {
  readonly userId: string
  readonly access: string
  readonly refresh: string
}

export interface TestApp {
  readonly app: FastifyInstance
  readonly clock: ReturnType<typeof makeManualClock>
  /** What was logged so far, info and above. */
  readonly log: readonly LogLine[]
  addUser(username: string, password: string): Promise<User>
  /** Adds a user of this name and logs in. */
  logIn(username?: string): Promise<Login>
  /** POSTs `body`: an object as JSON, a text or bytes as they are, under the content type given. */
  post(path: string, body?: object | string | Buffer, headers?: Record<string, string>): Promise<LightMyRequestResponse>
}

export const aPassword = 'correct horse'

/**
 * The application as production runs it, on embedded stores of its own and a stepped clock; closed and
 * removed with `t`. Rate limits are off and passwords cheap unless `env` says otherwise.
 */
export async function openApp(t: Pick<Test, 'teardown'>, env: Environment = {}): Promise<TestApp> {
  const clock = makeManualClock()
  const log: LogLine[] = []
  const dataDir = mkdtempSync(join(tmpdir(), 'keyturn-app-'))
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
  const config = loadConfig({
    DATA_DIR: dataDir,
    ARGON2_MEMORY: '8192',
    ARGON2_TIME: '1',
    RATE_LIMIT_OBTAIN: 'off',
    RATE_LIMIT_REFRESH: 'off',
    ...env
  })
  const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(JSON.parse(line)) })
  const app = await buildApp(config, { log: logger, clock })
  t.teardown(() => app.close())

  const post: TestApp['post'] = (url, body, headers = {}) => {
    const isRaw = body === undefined || typeof body === 'string' || Buffer.isBuffer(body)
    return isRaw
      ? app.inject({ method: 'POST', url, headers, ...(body === undefined ? {} : { payload: body }) })
      : app.inject({
          method: 'POST',
          url,
          payload: JSON.stringify(body),
          headers: { 'content-type': 'application/json', ...headers }
        })
  }
  const addUser: TestApp['addUser'] = async (username, password) =>
    (await app.stores.users.create(username, await app.hasher.hash(password))) as User
  return {
    app,
    clock,
    log,
    post,
    addUser,
    async logIn(username = 'vitor') {
      const { id: userId } = await addUser(username, aPassword)
      const answer = await post('/api/token/', { username, password: aPassword })
      return { userId, ...answer.json<{ access: string; refresh: string }>() }
    }
  }
}
