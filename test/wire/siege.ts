/** A service to be attacked with forgeries.ts, in this process. */
import type { KeyObject } from 'node:crypto'
import type { Test } from 'tap'
import type { Environment } from '../../src/config/load.ts'
import type { Key } from '../../src/keys/key.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { readKeyPair } from '../support/forger.ts'
import type { Target } from './forgeries.ts'

export const addressed = { ISSUER: 'https://id.example.com', AUDIENCE: 'shop,bank' }

/** Opens a service, logs in twice and out once; `open` may be the opener of another build. */
export async function besiege(
  t: Pick<Test, 'teardown'>,
  env: Environment,
  open: typeof openApp = openApp
): Promise<{ readonly service: TestApp; readonly target: Target }> {
  const service = await open(t, env)
  const { access, refresh } = await service.logIn('vitor')
  const over = (await service.post('/api/token/', { username: 'vitor', password: aPassword })).json()
  const { signing, refresh: refreshKey } = service.app.keyring.keys()
  const target: Target = {
    algorithm: signing.algorithm,
    pair: readKeyPair(signing.privateText),
    refreshKey: {
      algorithm: refreshKey.algorithm,
      key: secretOf(refreshKey) ?? readKeyPair(signing.privateText).privateKey
    },
    access,
    refresh,
    ended: over.access,
    now: service.clock(),
    isManaged: env.SIGNING_KEY === undefined,
    isAddressed: env.ISSUER !== undefined
  }
  const taken = await knock(service, over.access)
  const { statusCode } = await service.post('/api/token/blacklist/', { refresh: over.refresh })
  if (taken !== 'taken' || statusCode !== 200)
    throw new Error(`the service is not as it should be: ${taken}, ${statusCode}`)
  await untilRefused(service, over.access)
  return { service, target }
}

const secretOf = ({ privateText }: Key): KeyObject => readKeyPair(privateText).privateKey

/** The revocation feed is polled: what has ended is known a moment later. */
async function untilRefused(service: TestApp, token: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if ((await knock(service, token)) === 'refused') return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** What POST /api/token/verify/ says of a token: taken, refused in the one form there is, or anything else in full. */
export async function knock({ post }: TestApp, token: string): Promise<string> {
  const { statusCode, body, headers } = await post('/api/token/verify/', { token })
  if (statusCode === 200 && body === '{}') return 'taken'
  const { detail, code, ...more } = JSON.parse(body)
  const isRefusal = statusCode === 401 && typeof detail === 'string' && code === 'token_not_valid'
  const isPlain = Object.keys(more).length === 0 && headers['www-authenticate'] === 'Bearer realm="api"'
  return isRefusal && isPlain && /^Token (is|has) /.test(detail) ? 'refused' : `${statusCode} ${body}`
}
