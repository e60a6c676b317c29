import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import t from 'tap'
import { VerifierError } from '../src/errors.ts'
import { metadataUrl } from '../src/keys.ts'
import { Verifier } from '../src/verifier.ts'
import { accepted, aClock, cannotKnow, invalidToken, verdictOf } from './support.ts'

const issuer = 'https://auth.example'

/** An issuer whose keys and faults a test decides on. */
async function anIssuer(t: { teardown(end: () => unknown): void }) {
  const clock = aClock()
  const pairs = new Map<string, Awaited<ReturnType<typeof generateKeyPair>>>()
  const served: object[] = []
  const state = { fetches: 0, fault: undefined as undefined | (() => Promise<Response>), metadata: {} }
  const addKey = async (kid: string): Promise<void> => {
    const pair = await generateKeyPair('ES256', { extractable: true })
    pairs.set(kid, pair)
    served.push({ ...(await exportJWK(pair.publicKey)), kid, alg: 'ES256' })
  }
  await addKey('first')
  const verifier = new Verifier(
    {
      issuer,
      revocations: 'none',
      async fetch(url) {
        if (state.fault !== undefined) return state.fault()
        if (url === metadataUrl(issuer)) return Response.json({ issuer, jwks_uri: `${issuer}/keys`, ...state.metadata })
        state.fetches++
        return Response.json({ keys: served })
      }
    },
    clock
  )
  t.teardown(() => verifier.close())
  await verifier.ready()
  const token = (kid: string, { signer = kid, iat = clock.now() - 60 } = {}): Promise<string> =>
    new SignJWT({ token_type: 'access', user_id: '1', jti: 'j', iss: issuer, iat, exp: clock.now() + 300 })
      .setProtectedHeader({ alg: 'ES256', kid })
      .sign((pairs.get(signer) ?? pairs.get('first'))?.privateKey as CryptoKeyLike)
  return { verifier, clock, state, served, addKey, token }
}
type CryptoKeyLike = Awaited<ReturnType<typeof generateKeyPair>>['privateKey']

t.test('keys: metadata stands in front of the path of the issuer', async (t) => {
  t.equal(metadataUrl('https://a.example'), 'https://a.example/.well-known/oauth-authorization-server')
  t.equal(metadataUrl('https://a.example/'), 'https://a.example/.well-known/oauth-authorization-server')
  t.equal(metadataUrl('https://a.example/x/y'), 'https://a.example/.well-known/oauth-authorization-server/x/y')
})

t.test(
  'keys: an unknown kid fetches them again, however many tokens have it, and at most once in ten seconds',
  async (t) => {
    const { verifier, clock, state, addKey, token } = await anIssuer(t)
    clock.pass(10)
    await addKey('second')
    const tokens = await Promise.all(Array.from({ length: 20 }, () => token('second')))
    t.same(new Set(await Promise.all(tokens.map((each) => verdictOf(verifier, each)))), new Set([accepted]))
    t.equal(state.fetches, 2)
    const junk = await token('junk')
    for (let i = 0; i < 20; i++) t.equal(await verdictOf(verifier, junk), invalidToken)
    t.equal(state.fetches, 2)
    clock.pass(10)
    t.equal(await verdictOf(verifier, junk), invalidToken)
    t.equal(state.fetches, 3)
  }
)

t.test('keys: a token that is newer than the keys is not refused for its kid, but cannot be decided on', async (t) => {
  const { verifier, clock, addKey, token } = await anIssuer(t)
  clock.pass(9)
  await addKey('second')
  const newer = await token('second', { iat: clock.now() })
  t.equal(await verdictOf(verifier, newer), cannotKnow)
  clock.pass(1)
  t.equal(await verdictOf(verifier, newer), accepted)
})

t.test('keys: they are kept through an outage, and an unknown kid is then 503', async (t) => {
  const { verifier, clock, state, token } = await anIssuer(t)
  const faults: Record<string, () => Promise<Response>> = {
    refused: async () => Promise.reject(new TypeError('fetch failed')),
    'a redirect': async () => new Response(null, { status: 302, headers: { location: 'https://other.example' } }),
    unavailable: async () => new Response('{}', { status: 503 }),
    'not found': async () => new Response('{}', { status: 404 }),
    'not JSON': async () => new Response('<html>'),
    'not an object': async () => Response.json('x'),
    'another issuer': async () => Response.json({ issuer: 'https://other.example', jwks_uri: `${issuer}/keys` }),
    'no keys': async () => Response.json({ issuer, jwks_uri: `${issuer}/keys` }),
    'no usable key': async () => Response.json({ issuer, jwks_uri: `${issuer}/keys`, keys: [{ kty: 'oct' }] }),
    'keys in the clear': async () => Response.json({ issuer, jwks_uri: 'http://auth.example/keys', keys: [] }),
    'without an end': async () => new Response(new ReadableStream({ pull: (c) => c.enqueue(new Uint8Array(65_536)) }))
  }
  for (const [name, fault] of Object.entries(faults)) {
    state.fault = fault
    clock.pass(11)
    t.equal(await verdictOf(verifier, await token('first', { iat: clock.now() })), accepted, name)
    t.equal(await verdictOf(verifier, await token('other')), cannotKnow, `${name}: an unknown kid`)
  }
  state.fault = undefined
  clock.pass(2)
  t.equal(await verdictOf(verifier, await token('other')), invalidToken, 'afterwards it is known again')
})

t.test('keys: a failure is tried again at most once a second', async (t) => {
  const { verifier, clock, state, token } = await anIssuer(t)
  let attempts = 0
  state.fault = async () => {
    attempts++
    throw new VerifierError('unavailable', 'down')
  }
  clock.pass(11)
  for (let i = 0; i < 10; i++) t.equal(await verdictOf(verifier, await token('other')), cannotKnow)
  t.equal(attempts, 1)
  clock.pass(1)
  t.equal(await verdictOf(verifier, await token('other')), cannotKnow)
  t.equal(attempts, 2)
})

t.test('keys: a key that is withdrawn takes remembered tokens with it', async (t) => {
  const { verifier, clock, served, addKey, token } = await anIssuer(t)
  const old = await token('first')
  t.equal(await verdictOf(verifier, old), accepted)
  await addKey('second')
  served.shift()
  clock.pass(10)
  t.equal(await verdictOf(verifier, await token('second')), accepted)
  t.equal(await verdictOf(verifier, old), invalidToken)
})

t.test('keys: a token that another key signed is refused', async (t) => {
  const { verifier, addKey, token } = await anIssuer(t)
  await addKey('second')
  t.equal(await verdictOf(verifier, await token('first', { signer: 'second' })), invalidToken)
})
