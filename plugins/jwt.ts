import { randomUUID } from 'node:crypto'
import fastifyJwt, { type JWT } from '@fastify/jwt'
import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { fields } from './fields.ts'
import { KeyturnError } from '../src/errors.ts'
import { isSecretAlgorithm } from '../src/keys/algorithms.ts'
import type { Key } from '../src/keys/key.ts'
import { type Keyring, type Keys, openKeyring } from '../src/keys/keyring.ts'
import type { Clock } from '../src/time.ts'
import type { Payload, TokenCodec } from '../src/tokens/codec.ts'
import { namesTwice, readHeader, splitToken } from '../src/tokens/jws.ts'

/** How often a worker looks whether the keys have changed, in milliseconds. */
const keysInterval = 2000

/** Access tokens whose signature is known to be good. A token and its claims take about a kilobyte. */
const mostAccepted = 4096

/** Headers that need not be read again. */
const mostHeads = 64

/** Opens the keyring, follows its rotation, and signs and verifies with it through @fastify/jwt. */
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
        .catch((error) => app.log.error({ err: error, event, kid }, 'the audit trail cannot be written'))
    }
  })
  const typ = config.tokenProfile === 'rfc9068' ? 'at+jwt' : 'JWT'
  const codec = makeCodec(typ)
  await codec.use(keyring.keys())
  app.decorate('keyring', keyring)
  app.decorate('codec', codec)

  const follow = async (): Promise<void> => {
    try {
      if (!(await keyring.update())) return
      await codec.use(keyring.keys())
      app.log.info({ kid: keyring.keys().signing.kid }, 'the keys have changed; access tokens are signed with this one')
    } catch (error) {
      app.log.warn({ err: error }, 'the keys cannot be read; they stay as they are')
    }
  }
  let following: Promise<void> | undefined
  const timer = setInterval(() => {
    following ??= follow().finally(() => {
      following = undefined
    })
  }, keysInterval)
  timer.unref()
  app.addHook('onClose', async () => {
    clearInterval(timer)
    await following
  })
}

/**
 * One registration of @fastify/jwt a key, each on a small Fastify of its own: the algorithm is then bound to the key, and
 * calls without options take the plugin's prepared signer and verifier (with options they are built anew, 9 and 3 times slower).
 */
async function openKey({ algorithm, kid, privateText, publicText, secretBytes }: Key, typ: string): Promise<JWT> {
  const host = Fastify({ schemaController: fields })
  await host.register(fastifyJwt, {
    secret: isSecretAlgorithm(algorithm) ? (secretBytes ?? privateText) : { private: privateText, public: publicText },
    sign: { algorithm, kid, header: { alg: algorithm, typ } },
    // Times are checked with all other claims, in src/tokens/claims.ts.
    verify: { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true, cache: false }
  })
  await host.ready()
  return host.jwt
}

/** A codec that is given its keys by `use`, and again whenever they change. */
function makeCodec(typ: string): TokenCodec & { use(keys: Keys): Promise<void> } {
  let byKid = new Map<string, JWT>()
  let signing: JWT
  /** Takes tokens that name no key of ours. Simple JWT's name none, and it takes those that name any. */
  let unnamed: readonly JWT[] = []
  /** Never changes: it is derived from the internal key, or fixed. */
  let refresh: JWT
  /** Headers of tokens that were accepted: a key writes the same one each time, and it need not be read again. */
  let byHead = new Map<string, readonly JWT[]>()
  /** Only tokens that were accepted, so that forged ones push none out. Neither outlives a key: a change of keys empties both. */
  let accepted = new Map<string, Payload>()

  const invalid = (detail: string, cause?: unknown) => new KeyturnError('TOKEN_INVALID', { detail, cause })

  const findKeys = (head: string): readonly JWT[] => {
    const header = readHeader(head)
    if (typeof header === 'string') throw invalid(header)
    const key = byKid.get(header.kid ?? '')
    const keys = key === undefined ? unnamed : [key]
    if (keys.length === 0) throw invalid('kid is not known')
    return keys
  }

  const verify = (token: string): Payload => {
    const jws = splitToken(token)
    if (typeof jws === 'string') throw invalid(jws)
    const keys = byHead.get(jws.head) ?? findKeys(jws.head)
    const payload = checkSignature(keys, token)
    if (byHead.size < mostHeads) byHead.set(jws.head, keys)
    // Nobody else has this key, and what we write names nothing twice. Such a token is presented once, and thousands of them
    // would push out the access tokens, which come again and again.
    if (keys[0] === refresh) return payload
    if (namesTwice(jws.payload, payload)) throw invalid('the payload names a member twice')
    remember(token, Object.freeze(payload))
    return payload
  }

  const remember = (token: string, payload: Payload): void => {
    if (accepted.size >= mostAccepted) accepted.delete(accepted.keys().next().value ?? '')
    accepted.set(token, payload)
  }

  const checkSignature = (keys: readonly JWT[], token: string): Payload => {
    let cause: unknown
    for (const key of keys) {
      try {
        return key.verify<Payload>(token)
      } catch (error) {
        cause = error
      }
    }
    throw invalid((cause as { code?: string }).code ?? 'unreadable', cause)
  }

  return {
    async use(keys) {
      const verifiers = new Map<string, JWT>()
      for (const key of keys.verifying) verifiers.set(key.kid, byKid.get(key.kid) ?? (await openKey(key, typ)))
      refresh ??= await openKey(keys.refresh, 'JWT')
      signing = verifiers.get(keys.signing.kid) as JWT
      unnamed = keys.unnamed.map(({ kid }) => verifiers.get(kid) as JWT)
      // With a shared secret both kinds are signed with the one key, and either verifies them.
      byKid = verifiers.set(keys.refresh.kid, verifiers.get(keys.refresh.kid) ?? refresh)
      byHead = new Map()
      accepted = new Map()
    },
    sign: (use, claims) => (use === 'access' ? signing : refresh).sign(claims as Payload),
    read: (token) => accepted.get(token) ?? verify(token)
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    keyring: Keyring
    codec: TokenCodec
  }
}

export default fp(jwt, { name: 'jwt', dependencies: ['stores', 'audit'] })
