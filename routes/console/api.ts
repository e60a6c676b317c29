/**
 * Calls of the service. Tokens are in the memory of this module and nowhere else: they are lost when the page is reloaded or
 * closed, and another tab does not have them.
 */
interface Tokens {
  readonly access: string
  /** Absent in cookie mode, where the browser has it in a cookie that this page cannot read. */
  readonly refresh?: string
  /** When to refresh, in milliseconds of this device's clock, whatever the service's clock says. */
  readonly refreshAtMs: number
}

interface Claims {
  readonly sid: string
  readonly exp: number
  readonly iat: number
  readonly scope?: string
}

/** An answer with the id of its request, by which the audit trail names it. */
export interface Answer<Body> {
  readonly body: Body
  readonly requestId: string
}

/** A page of a list. */
export interface Page<Row> {
  readonly results: readonly Row[]
  readonly next: string | number | null
}

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE'

/** How long before its expiry an access token is replaced. */
const marginMs = 10_000
const base = new URL('../api/', import.meta.url)
const scheme = document.querySelector<HTMLMetaElement>('meta[name=token-scheme]')?.content ?? 'Bearer'

let tokens: Tokens | undefined
let claims: Claims | undefined
let refreshing: Promise<void> | undefined

/** Called when the session has ended without a logout here. */
export const session = { onEnd(_message: string): void {} }

/** Whether the operator may use endpoints that need this scope. */
export function isAllowed(scope: string): boolean {
  const own = claims?.scope?.split(' ') ?? []
  return (
    own.includes('keyturn.admin') ||
    own.includes(scope) ||
    (scope === 'keyturn.users.read' && own.includes('keyturn.users'))
  )
}

/** The id of the operator's own session. */
export const ownSession = (): string | undefined => claims?.sid

/** Throws Error with a message for the operator. */
export async function logIn(username: string, password: string): Promise<void> {
  const response = await send('POST', 'token/', { body: { username, password } })
  if (!response.ok) throw await refusalOf(response)
  await keep(response)
  if (claims?.scope?.split(' ').some((scope) => scope.startsWith('keyturn.'))) return
  await logOut()
  throw new Error('This user may not use the console: the scope claim has none of its scopes.')
}

/** Ends the operator's session. The response of the service does not matter, since the tokens are discarded first. */
export async function logOut(): Promise<void> {
  const body = bodyOf(tokens)
  forget()
  await send('POST', 'token/blacklist/', { body }).catch(() => {})
}

function forget(): void {
  tokens = undefined
  claims = undefined
}

async function keep(response: Response): Promise<void> {
  const given: { readonly access: string; readonly refresh?: string } = await response.json()
  const [, payload = ''] = given.access.split('.')
  const bytes = atob(payload.replaceAll('-', '+').replaceAll('_', '/'))
  const read: Claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (each) => each.charCodeAt(0))))
  claims = read
  // Without rotation, the response has no refresh token: the old one stays in use.
  const refresh = given.refresh ?? tokens?.refresh
  tokens = {
    access: given.access,
    refreshAtMs: Date.now() + Math.max(1000, (read.exp - read.iat) * 1000 - marginMs),
    ...(refresh === undefined ? {} : { refresh })
  }
}

const bodyOf = (tokens: Tokens | undefined): object =>
  tokens?.refresh === undefined ? {} : { refresh: tokens.refresh }

async function refresh(): Promise<void> {
  const response = await send('POST', 'token/refresh/', { body: bodyOf(tokens) })
  if (response.ok) return await keep(response)
  if (response.status === 429 || response.status >= 500) throw await refusalOf(response)
  end()
}

function end(): never {
  forget()
  session.onEnd('Your session has ended. Log in again.')
  throw new DOMException('The session has ended.', 'AbortError')
}

async function accessToken(): Promise<string> {
  if (tokens === undefined) return end()
  if (Date.now() >= tokens.refreshAtMs) {
    refreshing ??= refresh().finally(() => {
      refreshing = undefined
    })
    await refreshing
  }
  return tokens.access
}

/**
 * A request with the operator's access token; its answer is a success. Throws Error with a message for the operator, and
 * DOMException AbortError when the session has ended or `signal` is aborted.
 */
export async function request(
  method: Method,
  path: string,
  options: { readonly body?: object; readonly signal?: AbortSignal; readonly accept?: string } = {}
): Promise<Response> {
  const response = await send(method, `admin/${path}`, { ...options, token: await accessToken() })
  if (response.status === 401) end()
  if (!response.ok) throw await refusalOf(response)
  return response
}

/** The same, with the JSON of its answer. */
export async function call<Body>(
  method: Method,
  path: string,
  body?: object,
  signal?: AbortSignal
): Promise<Answer<Body>> {
  const response = await request(method, path, { ...(body && { body }), ...(signal && { signal }) })
  const requestId = response.headers.get('x-request-id') ?? ''
  return { requestId, body: response.status === 204 ? undefined : await response.json() }
}

/** The body of a GET. */
export const get = async <Body>(path: string, signal?: AbortSignal): Promise<Body> =>
  (await call<Body>('GET', path, undefined, signal)).body

async function send(
  method: Method,
  path: string,
  {
    body,
    token,
    signal,
    accept = 'application/json'
  }: { readonly body?: object; readonly token?: string; readonly signal?: AbortSignal; readonly accept?: string }
): Promise<Response> {
  try {
    return await fetch(new URL(path, base), {
      method,
      headers: {
        accept,
        'accept-language': 'en',
        ...(body && { 'content-type': 'application/json' }),
        ...(token && { authorization: `${scheme} ${token}` })
      },
      cache: 'no-store',
      ...(body && { body: JSON.stringify(body) }),
      ...(signal && { signal })
    })
  } catch (error) {
    if (error instanceof DOMException) throw error
    throw new Error('Keyturn cannot be reached. Check the connection, and try again.')
  }
}

/** The text of a refusal: its `detail`, or each field with its messages. */
async function refusalOf(response: Response): Promise<Error> {
  const wait = response.headers.get('retry-after')
  const again = wait === null ? '' : ` Try again in ${wait} s.`
  const body: Readonly<Record<string, unknown>> = await response.json().catch(() => ({}))
  if (typeof body.detail === 'string') return new Error(`${body.detail}${again}`)
  const fields = Object.entries(body).map(([name, messages]) => `${name}: ${[messages].flat().join(' ')}`)
  return new Error(fields.join(' ') || `Keyturn answered ${response.status}.${again}`)
}
