import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { findEngines, openEnclosure, untilReady, whyMissing } from './engines.ts'

/** The path of a file in test/fixtures/django. */
export const fixture = (name: string) =>
  fileURLToPath(new URL(`../../../test/fixtures/django/${name}`, import.meta.url))

/**
 * Starts test/fixtures/django/project.py, a whole Django project with Simple JWT that has its users in this database,
 * and resolves with its URL; it ends with `t`. `folder` may add modules, and a settings.py that changes SIMPLE_JWT.
 */
export const startDjangoProject = (
  t: Pick<Test, 'teardown'>,
  databaseUrl: string,
  secret: string,
  ...folder: readonly string[]
): Promise<string> => start(t, 'project.py', databaseUrl, secret, ...folder)

/**
 * Starts test/fixtures/django/service.py, a Django service with Simple JWT, and resolves with its URL; it ends with `t`.
 * `key` is the shared secret with HS256, and the JWKS' URL with ES256.
 */
export const startDjango = (t: Pick<Test, 'teardown'>, algorithm: 'HS256' | 'ES256', key: string): Promise<string> =>
  start(t, 'service.py', algorithm, key)

async function start(t: Pick<Test, 'teardown'>, program: string, ...args: readonly string[]): Promise<string> {
  const python = findPython()
  const enclosure = await openEnclosure('django', 'SIGKILL')
  t.teardown(() => enclosure.close())
  const port = () => /^listens on (\d+)$/m.exec(enclosure.log())?.[1]
  await untilReady(enclosure.spawn(python, [fixture(program), ...args]), enclosure, () => port() !== undefined)
  return `http://127.0.0.1:${port()}`
}

/** What test/fixtures/django/dump.py writes: the users of a Django project, by `dumpdata`. */
export const dumpDjango = (format: 'json' | 'jsonl'): string =>
  execFileSync(findPython(), [fixture('dump.py'), format], { encoding: 'utf8' })

/** A digest of `password` by each hasher that this Django has, by algorithm, at Django's own costs. */
export const digestsOfDjango = (password: string): Record<string, string> => runPasswords(['make'], password)

/**
 * Whether Django's check_password takes the first of each pair for the password of the second, its digest. It runs with the
 * hashers of a new project, without the packages that argon2 and bcrypt need.
 */
export const checkedByDjango = (pairs: readonly (readonly [password: string, digest: string])[]): boolean[] =>
  runPasswords(['check'], pairs)

function runPasswords<T>(args: readonly string[], input: unknown): T {
  const options = { input: JSON.stringify(input), encoding: 'utf8', stdio: 'pipe' } as const
  return JSON.parse(execFileSync(findPython(), [fixture('passwords.py'), ...args], options))
}

/** A Python that has Django and Simple JWT. */
export function findPython(): string {
  const python = process.env.TEST_PYTHON || findEngines().django
  if (python === undefined) throw new Error(whyMissing('django'))
  return python
}
