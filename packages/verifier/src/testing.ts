import { randomBytes } from 'node:crypto'
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { Fetch } from './http.ts'
import { metadataUrl } from './keys.ts'
import type { VerifierOptions } from './options.ts'
import type { Revocation } from './revocations.ts'

export interface TestIssuerOptions {
  /** Default: `https://keyturn.test`. */
  readonly issuer?: string
  /** Nothing can be fetched: a verifier answers 503. */
  readonly offline?: boolean
}

export interface TestToken {
  /** Default: `1`; none where `clientId` is given. */
  readonly userId?: string
  /** Default: a new one; none where `clientId` is given. */
  readonly sessionId?: string
  /** Default: a new one. */
  readonly tokenId?: string
  /** A client's own token. */
  readonly clientId?: string
  readonly scopes?: readonly string[]
  readonly audience?: string
  /** Seconds from now; negative for an expired token. Default: 300. */
  readonly lifetime?: number
  /** Claims besides these, or instead of them: `{ token_type: 'refresh' }`. */
  readonly claims?: Readonly<Record<string, unknown>>
}

/** Seconds for which a revocation is kept. */
const window = 3600
const heartbeatMs = 2000
/** Entries of one event, as in the service. */
const maxEntries = 1000

const randomId = (): string => randomBytes(16).toString('hex')
const now = (): number => Math.floor(Date.now() / 1000)

/** A Keyturn in memory, for the tests of a service: it signs tokens and revokes them. Nothing is sent over the network. */
export class TestIssuer {
  /** For `createVerifier`. */
  readonly options: Required<Pick<VerifierOptions, 'issuer' | 'client' | 'fetch'>>
  readonly #privateKey: CryptoKey
  readonly #jwk: object
  readonly #isOffline: boolean
  readonly #revoked: Revocation[] = []
  readonly #streams = new Set<TestStream>()

  constructor(keys: { privateKey: CryptoKey; jwk: object }, { issuer, offline }: Required<TestIssuerOptions>) {
    this.#privateKey = keys.privateKey
    this.#jwk = { ...keys.jwk, kid: 'test', alg: 'ES256', use: 'sig' }
    this.#isOffline = offline
    const fetch: Fetch = async (url, init) => this.#answer(url, init)
    this.options = { issuer, client: { id: 'test', secret: 'test' }, fetch }
  }

  /** A signed access token. */
  token({
    userId,
    sessionId,
    tokenId,
    clientId,
    scopes,
    audience,
    lifetime = 300,
    claims
  }: TestToken = {}): Promise<string> {
    const iat = now()
    const subject =
      clientId === undefined
        ? { user_id: userId ?? '1', sub: userId ?? '1', sid: sessionId ?? randomId() }
        : { client_id: clientId, sub: clientId }
    const payload = {
      token_type: 'access',
      exp: iat + lifetime,
      iat,
      jti: tokenId ?? randomId(),
      ...subject,
      ...(scopes === undefined ? {} : { scope: scopes.join(' ') }),
      ...(audience === undefined ? {} : { aud: audience }),
      iss: this.options.issuer,
      ...claims
    }
    return new SignJWT(payload).setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: 'test' }).sign(this.#privateKey)
  }

  /** Ends a session, or revokes one token. Resolves once every connected verifier knows. */
  async revoke(target: { readonly sessionId: string } | { readonly tokenId: string }): Promise<void> {
    const until = now() + window
    this.#revoked.push('sessionId' in target ? { sid: target.sessionId, until } : { jti: target.tokenId, until })
    await Promise.all([...this.#streams].map((stream) => stream.send(this.#events(this.#revoked.length - 1))))
  }

  #answer(url: string, { signal }: RequestInit): Response {
    const { issuer } = this.options
    const base = issuer.replace(/\/$/, '')
    signal?.throwIfAborted()
    if (this.#isOffline) throw new TypeError('fetch failed: the test issuer is offline')
    if (url === metadataUrl(issuer)) return Response.json({ issuer, jwks_uri: `${base}/.well-known/jwks.json` })
    if (url === `${base}/.well-known/jwks.json`) return Response.json({ keys: [this.#jwk] })
    if (url !== `${base}/api/revocations/`) return new Response(null, { status: 404 })
    const stream = new TestStream(this.#events(0), () => this.#streams.delete(stream))
    this.#streams.add(stream)
    signal?.addEventListener('abort', () => stream.end(), { once: true })
    return new Response(stream.body, { headers: { 'content-type': 'text/event-stream' } })
  }

  /** What was revoked from this position on, and that this is all. */
  #events(position: number): string {
    const entries = this.#revoked.slice(position)
    const pages = Array.from({ length: Math.ceil(entries.length / maxEntries) }, (_, page) =>
      entries.slice(page * maxEntries, (page + 1) * maxEntries)
    )
    return [...pages.map((page) => event('revoked', page)), caughtUp].join('')
  }
}

const event = (type: string, data: unknown): string => `event: ${type}\ndata: ${JSON.stringify(data)}\n\n`
const caughtUp = event('caught-up', { lost_before: null, window, age: 0 })

/** One response of server-sent events. */
class TestStream {
  readonly body: ReadableStream<Uint8Array>
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  /** Resolvers of those who wait until the reader asks for more. */
  #waiting: (() => void)[] = []
  readonly #heartbeat: NodeJS.Timeout
  readonly #onEnd: () => void

  constructor(first: string, onEnd: () => void) {
    this.#onEnd = onEnd
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
          controller.enqueue(Buffer.from(first))
        },
        pull: () => this.#release(),
        cancel: () => this.#stop()
      },
      // With no queue of its own, a pull means that everything sent before was taken.
      { highWaterMark: 0 }
    )
    this.#heartbeat = setInterval(() => this.#controller?.enqueue(Buffer.from(caughtUp)), heartbeatMs)
    this.#heartbeat.unref()
  }

  /** Resolves once the reader has taken it. */
  send(text: string): Promise<void> {
    if (this.#controller === undefined) return Promise.resolve()
    this.#controller.enqueue(Buffer.from(text))
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  end(): void {
    if (this.#controller === undefined) return
    this.#controller.close()
    this.#stop()
  }

  #stop(): void {
    this.#controller = undefined
    clearInterval(this.#heartbeat)
    this.#onEnd()
    this.#release()
  }

  #release(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

/** A TestIssuer with a key of its own. */
export async function createTestIssuer({
  issuer = 'https://keyturn.test',
  offline = false
}: TestIssuerOptions = {}): Promise<TestIssuer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  return new TestIssuer({ privateKey, jwk: await exportJWK(publicKey) }, { issuer, offline })
}
