import { type Algorithm, algorithmNames, isAlgorithm } from './algorithms.ts'
import type { Fetch } from './http.ts'

export interface VerifierOptions {
  /** Keyturn's `ISSUER`, exactly as it is set. */
  readonly issuer: string
  /** This service's name in `aud`, or several of them. Without it any audience is accepted. */
  readonly audience?: string | readonly string[]
  /**
   * Accept only keys of these algorithms. Default: all asymmetric ones. The algorithm is always that of the key, never the one
   * that the token names.
   */
  readonly algorithms?: readonly Algorithm[]
  /** The client that reads the revocation stream; it needs the scope `keyturn.revocations`. */
  readonly client?: { readonly id: string; readonly secret: string }
  /** `stream` (default): refuse a token as soon as it is revoked. `none`: accept it until it expires. */
  readonly revocations?: 'stream' | 'none'
  /** For how many seconds the stream may be silent before tokens are refused with 503. Default: 30; at least 5. */
  readonly staleness?: number
  /** Used instead of the global `fetch`. */
  readonly fetch?: Fetch
}

export interface VerifyOptions {
  /** Scopes that the token must have, all of them; a text may have several, separated by spaces. */
  readonly scope?: string | readonly string[]
}

export interface Options {
  readonly issuer: string
  readonly audience: readonly string[]
  readonly algorithms: readonly Algorithm[]
  /** Undefined: revocations are not followed. */
  readonly client: { readonly id: string; readonly secret: string } | undefined
  readonly staleness: number
  readonly fetch: Fetch
}

const names = ['issuer', 'audience', 'algorithms', 'client', 'revocations', 'staleness', 'fetch']

/** The validated options. Throws TypeError: a mistake here must not disable a check. */
export function readOptions(options: VerifierOptions): Options {
  const unknown = Object.keys(options).filter((name) => !names.includes(name))
  if (unknown.length > 0) throw new TypeError(`unknown option ${unknown.join(', ')}: expected ${names.join(', ')}`)
  const { issuer, audience = [], algorithms = algorithmNames, client, revocations = 'stream' } = options
  const { staleness = 30, fetch = globalThis.fetch } = options
  demand('issuer', 'a URL with https or http, without query and fragment', issuer, isIssuer(issuer))
  const audiences = [audience].flat()
  demand(
    'audience',
    'a text or texts',
    audience,
    audiences.every(isText) && !('audience' in options && audiences.length === 0)
  )
  demand(
    'algorithms',
    `some of ${algorithmNames.join(', ')}`,
    algorithms,
    algorithms.length > 0 && algorithms.every(isAlgorithm)
  )
  demand('revocations', "'stream' or 'none'", revocations, revocations === 'stream' || revocations === 'none')
  demand('staleness', 'a number of seconds of at least 5', staleness, Number.isFinite(staleness) && staleness >= 5)
  demand('fetch', 'a function', fetch, typeof fetch === 'function')
  if (revocations === 'none') return { issuer, audience: audiences, algorithms, client: undefined, staleness, fetch }
  if (!isText(client?.id) || !isText(client.secret))
    throw new TypeError(
      "client: expected { id, secret } for the revocation stream; revocations: 'none' does without it"
    )
  return { issuer, audience: audiences, algorithms, client, staleness, fetch }
}

/** The scopes that a token must have. Throws TypeError: a mistake here must not disable the check. */
export function readScopes(options: VerifyOptions = {}): readonly string[] {
  const unknown = Object.keys(options).filter((name) => name !== 'scope')
  if (unknown.length > 0) throw new TypeError(`unknown option ${unknown.join(', ')}: expected scope`)
  if (!('scope' in options)) return []
  const { scope } = options
  const scopes = (typeof scope === 'string' ? scope.split(' ') : [scope].flat()).filter((each) => each !== '')
  demand('scope', 'a text or texts', scope, scopes.length > 0 && scopes.every(isText))
  return scopes as readonly string[]
}

function demand(name: string, expected: string, value: unknown, isValid: boolean): void {
  if (!isValid) throw new TypeError(`${name}: expected ${expected}, got ${JSON.stringify(value) ?? String(value)}`)
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

/** RFC 8414 §2: without query and fragment. */
function isIssuer(value: unknown): boolean {
  if (typeof value !== 'string' || !URL.canParse(value)) return false
  const { protocol, username, password } = new URL(value)
  return /^https?:$/.test(protocol) && username === '' && password === '' && !/[?#]/.test(value)
}
