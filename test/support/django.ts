import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { findEngines, openEnclosure, untilReady, whyMissing } from './engines.ts'

const service = fileURLToPath(new URL('../../../test/fixtures/django/service.py', import.meta.url))

/**
 * Starts test/fixtures/django/service.py, a Django service with Simple JWT, and resolves with its URL; it ends with `t`.
 * `key` is the shared secret with HS256, and the JWKS' URL with ES256.
 */
export async function startDjango(
  t: Pick<Test, 'teardown'>,
  algorithm: 'HS256' | 'ES256',
  key: string
): Promise<string> {
  const python = process.env.TEST_PYTHON || findEngines().django
  if (python === undefined) throw new Error(whyMissing('django'))
  const enclosure = await openEnclosure('django', 'SIGKILL')
  t.teardown(() => enclosure.close())
  const port = () => /^listens on (\d+)$/m.exec(enclosure.log())?.[1]
  await untilReady(enclosure.spawn(python, [service, algorithm, key]), enclosure, () => port() !== undefined)
  return `http://127.0.0.1:${port()}`
}
