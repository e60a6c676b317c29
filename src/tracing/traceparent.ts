import type { IncomingHttpHeaders } from 'node:http'

/** The caller's place in a trace. */
export interface TraceParent {
  /** The whole header. */
  readonly text: string
  /** 32 hexadecimal digits. */
  readonly traceId: string
  /** The caller's span: 16 hexadecimal digits. */
  readonly spanId: string
  /** Whether the caller records its span. */
  readonly isSampled: boolean
}

/**
 * The `traceparent` of a request; undefined without one, or if it is invalid.
 * Source: W3C Trace Context §3.2.
 */
export function readTraceparent({ traceparent: text }: IncomingHttpHeaders): TraceParent | undefined {
  if (typeof text !== 'string') return undefined
  const shape = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?$/
  const [, version, traceId, spanId, flags, more] = shape.exec(text) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  // Later versions may add fields; this one has none.
  if (version === '00' && more !== undefined) return undefined
  return { text, traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 }
}
