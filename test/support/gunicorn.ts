/** The service of packages/django/README.md under Gunicorn, for tests and for bench/django.ts. */
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { findEngines, freePort, openEnclosure, untilReady } from './engines.ts'
import { runKeyturn, startKeyturn } from './keyturn.ts'
import { fillIn, readBlocks } from './recipes.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
export const djangoPackage = join(root, 'packages/django')

/** The Python that has Django REST framework, PyJWT, Gunicorn and gevent. */
export const pythonWithGunicorn = (): string => process.env.TEST_PYTHON || findEngines().gunicorn || 'python3'

/** What one process of the service decided. */
export interface Decision {
  readonly worker: string
  readonly status: number
  /** Milliseconds since 1970. */
  readonly at: number
  readonly body: Record<string, unknown>
  readonly headers: Headers
}

export interface GunicornService {
  readonly url: string
  /** Sends a request with this token to every process, and resolves with what each decided. */
  askAll(token: string): Promise<readonly Decision[]>
}

export interface GunicornOptions {
  readonly issuer: string
  readonly secret: string
  readonly workers: number
  /** More of Gunicorn's arguments. */
  readonly args?: readonly string[]
}

/** The settings of a Keyturn on a port that is known before it starts, so that ISSUER can name it. */
export async function keyturnForServices(
  t: Pick<Test, 'teardown'>,
  env: Record<string, string>
): Promise<{ issuer: string; secret: string }> {
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const settings = { ...env, PORT: `${port}`, ISSUER: issuer }
  await runKeyturn(['users', 'create', 'vitor'], settings, 'correct horse battery')
  const client = await runKeyturn(['clients', 'create', 'shop', '--scopes', 'keyturn.revocations'], settings)
  if (client.code !== 0) throw new Error(client.stderr)
  await startKeyturn(t, settings)
  return { issuer, secret: client.stdout.trim() }
}

/** Starts the service of the README and resolves when it answers. It ends with `t`. */
export async function startGunicorn(
  t: Pick<Test, 'teardown'>,
  { issuer, secret, workers, args = [] }: GunicornOptions
): Promise<GunicornService> {
  const enclosure = await openEnclosure('gunicorn', 'SIGQUIT')
  t.teardown(() => enclosure.close())
  const readme = readBlocks(join(djangoPackage, 'README.md'))
  writeFileSync(
    join(enclosure.directory, 'settings.py'),
    fillIn(readme('settings.py'), { 'http://127.0.0.1:8000': issuer })
  )
  writeFileSync(join(enclosure.directory, 'urls.py'), readme('urls.py'))
  copyFileSync(join(root, 'test/fixtures/django/wsgi.py'), join(enclosure.directory, 'wsgi.py'))
  const port = await freePort()
  const env = { PYTHONPATH: djangoPackage, DJANGO_SETTINGS_MODULE: 'settings', KEYTURN_CLIENT_SECRET: secret }
  const child = enclosure.spawn('/usr/bin/env', [
    ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
    ...[pythonWithGunicorn(), '-B', '-m', 'gunicorn', 'wsgi:application', '--bind', `127.0.0.1:${port}`],
    // A machine that runs many tests is slow, and a process that is killed for it would prove nothing.
    ...['--workers', `${workers}`, '--timeout', '180', ...args]
  ])
  const url = `http://127.0.0.1:${port}`
  const isUp = () =>
    fetch(`${url}/whoami`).then(
      ({ status }) => status === 401,
      () => false
    )
  await untilReady(child, enclosure, isUp)
  return { url, askAll: (token) => askAll(url, token, workers) }
}

async function askAll(url: string, token: string, workers: number): Promise<readonly Decision[]> {
  const byWorker = new Map<string, Decision>()
  while (byWorker.size < workers) {
    const decisions = await Promise.all(Array.from({ length: workers }, () => ask(url, token)))
    for (const decision of decisions) if (!byWorker.has(decision.worker)) byWorker.set(decision.worker, decision)
  }
  return [...byWorker.values()]
}

/** One request; the process is busy for 20 ms with it, so that others take the rest. */
export async function ask(url: string, token: string): Promise<Decision> {
  const headers = { authorization: `Bearer ${token}`, connection: 'close', 'x-hold': '0.02' }
  const answer = await fetch(`${url}/whoami`, { headers })
  return {
    worker: answer.headers.get('x-worker') ?? '',
    status: answer.status,
    at: Number(answer.headers.get('x-decided-at')) * 1000,
    body: (await answer.json()) as Record<string, unknown>,
    headers: answer.headers
  }
}
