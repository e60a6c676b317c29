import fastifyJwt, { type JWT } from '@fastify/jwt'
import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import { isSecretAlgorithm } from '../src/keys/algorithms.ts'
import type { Key } from '../src/keys/key.ts'
import { type Keyring, openKeyring } from '../src/keys/keyring.ts'
import type { Clock } from '../src/time.ts'
import type { KeyUse, Payload, TokenCodec } from '../src/tokens/codec.ts'

/** Longest token, in characters: anything longer is refused unread. */
const longestToken = 4096

/** Opens the keyring, and signs and verifies with it through @fastify/jwt. */
async function jwt(app: FastifyInstance, { config, clock }: { config: Config; clock: Clock }): Promise<void> {
  const keyring = await openKeyring(config, app.stores.keys, app.stores.keySecret, clock)
  app.decorate('keyring', keyring)
  app.decorate('codec', await makeCodec(keyring))
}

interface OpenKey {
  readonly key: Key
  readonly jwt: JWT
}

/**
 * One registration of @fastify/jwt a key, each on a small Fastify of its own: the algorithm is then bound to the key, and
 * calls without options take the plugin's prepared signer and verifier (with options they are built anew, 9 and 3 times slower).
 */
async function openKey(key: Key): Promise<OpenKey> {
  const host = Fastify()
  await host.register(fastifyJwt, {
    secret: isSecretAlgorithm(key.algorithm) ? key.privateText : { private: key.privateText, public: key.publicText },
    sign: { algorithm: key.algorithm, kid: key.kid },
    // Times are checked with all other claims, in src/tokens/claims.ts.
    verify: { algorithms: [key.algorithm], ignoreExpiration: true, ignoreNotBefore: true, cache: false }
  })
  await host.ready()
  return { key, jwt: host.jwt }
}

async function makeCodec({ access, refresh }: Keyring): Promise<TokenCodec> {
  const signers: Record<KeyUse, OpenKey> = { access: await openKey(access), refresh: await openKey(refresh) }
  const byKid = new Map(Object.values(signers).map((open) => [open.key.kid, open]))
  return {
    sign: (use, claims) => signers[use].jwt.sign(claims as Payload),
    read(token) {
      if (token.length > longestToken)
        throw new KeyturnError('TOKEN_INVALID', { detail: 'longer than 4096 characters' })
      const { kid = '' } = readHeader(token)
      if (typeof kid !== 'string') throw new KeyturnError('TOKEN_INVALID', { detail: 'kid is no text' })
      // Simple JWT's tokens name no key, and it takes those that name any: they are for the one that was configured.
      const open = byKid.get(kid) ?? signers.access
      try {
        return open.jwt.verify<Payload>(token)
      } catch (cause) {
        throw new KeyturnError('TOKEN_INVALID', { detail: (cause as { code?: string }).code ?? 'unreadable', cause })
      }
    }
  }
}

/** The header of a token, of which nothing is believed but which key it names. */
function readHeader(token: string): Payload {
  try {
    const header: unknown = JSON.parse(Buffer.from(token.slice(0, token.indexOf('.')), 'base64url').toString())
    if (typeof header === 'object' && header !== null && !Array.isArray(header)) return header as Payload
  } catch {
    // No header at all is the same as one that is no object.
  }
  throw new KeyturnError('TOKEN_INVALID', { detail: 'no token header' })
}

declare module 'fastify' {
  interface FastifyInstance {
    keyring: Keyring
    codec: TokenCodec
  }
}

export default fp(jwt, { name: 'jwt', dependencies: ['stores'] })
