/** `fetch`, or a compatible function: through a proxy, with your own certificate authority, or in memory. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>

/** Milliseconds for one small document. */
const timeoutMs = 5000
/** Bytes of one. */
const maxBytes = 262_144

/** A response that is not the expected one. */
export class ResponseError extends Error {
  override readonly name = 'ResponseError'
  readonly status: number
  /** Seconds to wait, if the response specifies them. */
  readonly retryAfter: number | undefined

  constructor(url: string, response: Response, expected: string) {
    const type = response.headers.get('content-type') ?? 'no content type'
    super(`GET ${url}: expected ${expected}, got ${response.status} (${type})`)
    this.status = response.status
    const seconds = response.headers.get('retry-after') ?? ''
    this.retryAfter = /^\d{1,6}$/.test(seconds) ? Number(seconds) : undefined
  }
}

export interface Document {
  readonly body: Readonly<Record<string, unknown>>
  /** Seconds for which it may be used; undefined if the response does not specify them. */
  readonly maxAge: number | undefined
}

/** GETs a JSON object. A redirect is an error: the issuer's URL is configured, and nothing else is trusted. */
export async function fetchJson(fetch: Fetch, url: string, signal: AbortSignal): Promise<Document> {
  const response = await fetch(url, {
    headers: { accept: 'application/json', 'cache-control': 'no-cache' },
    redirect: 'manual',
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
  })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new ResponseError(url, response, '200')
  }
  const body = parseObject(await readText(response, url))
  if (body === undefined) throw new Error(`GET ${url}: expected a JSON object`)
  const [, maxAge] = /max-age=(\d{1,9})/.exec(response.headers.get('cache-control') ?? '') ?? []
  return { body, maxAge: maxAge === undefined ? undefined : Number(maxAge) }
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

async function readText(response: Response, url: string): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    if (length > maxBytes) throw new Error(`GET ${url}: expected at most ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
