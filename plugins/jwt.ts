import { randomUUID } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { isSecretAlgorithm } from '../src/keys/algorithms.ts'
import type { Key } from '../src/keys/key.ts'
import { type Keyring, openKeyring } from '../src/keys/keyring.ts'
import { poll } from '../src/poll.ts'
import type { Clock } from '../src/time.ts'
import { Codec, type Payload, type TokenCodec, type TokenKey } from '../src/tokens/codec.ts'
import { fields } from './fields.ts'

/** How often a worker checks whether the keys have changed, in milliseconds. */
const keysInterval = 2000

/** Opens the keyring, follows its rotation, and gives its keys to the codec, which signs and verifies through @fastify/jwt. */
async function jwt(app: FastifyInstance, { config, clock }: { config: Config; clock: Clock }): Promise<void> {
  const keyring = await openKeyring(config, {
    store: app.stores.keys,
    secret: app.stores.keySecret,
    previousSecret: config.keyEncryptionSecretPrevious,
    clock,
    rotated(event, kid) {
      const act = { event, object: kid, result: 'ok', at: clock(), actor: 'keyturn', ip: '', requestId: randomUUID() }
      app.auditTrail
        .record(act)
        .catch((error) => app.log.error({ err: error, event, kid }, 'audit entry could not be written'))
    }
  })
  const codec = new Codec({ openKey, accessTokenType: config.tokenProfile === 'rfc9068' ? 'at+jwt' : 'JWT' })
  await codec.use(keyring.keys())
  app.decorate('keyring', keyring)
  app.decorate('codec', codec)

  const update = async (): Promise<void> => {
    if (!(await keyring.update())) return
    await codec.use(keyring.keys())
    app.log.info({ kid: keyring.keys().signing.kid }, 'signing key changed')
  }
  const poller = poll(update, {
    intervalMs: keysInterval,
    onOutage: (error) => app.log.warn({ err: error }, 'keys could not be read; keeping the current ones')
  })
  app.addHook('onClose', () => poller.close())
  app.addGauge({
    name: 'keyturn_signing_key_age_seconds',
    help: 'How long the signing key has been active; absent with SIGNING_KEY',
    aggregator: 'max',
    read() {
      const { signingSince } = keyring.keys()
      return signingSince === undefined ? undefined : clock() - signingSince
    }
  })
  app.addGauge({
    name: 'keyturn_signing_key_rotation_interval_seconds',
    help: 'KEY_ROTATION_INTERVAL; absent with SIGNING_KEY, and if it is 0',
    aggregator: 'max',
    read: () => (keyring.keys().signingSince === undefined ? undefined : config.keyRotationInterval || undefined)
  })
}

/**
 * Registers @fastify/jwt once for each key, on a small Fastify instance: the algorithm is then bound to the key, and calls
 * without options use the plugin's prepared signer and verifier (with options it builds new ones, 9 and 3 times slower).
 */
async function openKey({ algorithm, kid, privateText, publicText, secretBytes }: Key, typ: string): Promise<TokenKey> {
  const host = Fastify({ schemaController: fields })
  await host.register(fastifyJwt, {
    secret: isSecretAlgorithm(algorithm) ? (secretBytes ?? privateText) : { private: privateText, public: publicText },
    sign: { algorithm, kid, header: { alg: algorithm, typ } },
    // Times are checked with all other claims, in src/tokens/claims.ts.
    verify: { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true, cache: false }
  })
  await host.ready()
  return {
    sign: (claims) => host.jwt.sign(claims),
    verify: (token) => host.jwt.verify<Payload>(token)
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    keyring: Keyring
    codec: TokenCodec
  }
}

export default fp(jwt, { name: 'jwt', dependencies: ['stores', 'audit', 'metrics'] })
