import type { TraceParent } from './traceparent.ts'

/** The parts of a request that its span contains. None of them is text from the client. */
export interface TracedRequest {
  readonly method: string
  /** The template of the route; undefined if no route matches. */
  readonly route: string | undefined
  readonly parent: TraceParent | undefined
}

/** The span of a request that is recorded. */
export interface RequestSpan {
  readonly traceId: string
  readonly spanId: string
  /** Ends the span; `event` and `result` are those of the log. */
  end(response: { readonly status: number; readonly event: string | undefined; readonly result: string }): void
}

/** Something that a request waited for. */
export interface TracedWork {
  readonly name: string
  /** How long it took until now, in milliseconds. */
  readonly ms: number
  /** For a call to a store: the store, as OpenTelemetry names it, and what was called. */
  readonly call?: { readonly system: string; readonly summary: string }
  /** The code of the error with which it failed. The message of an error may contain values of the request. */
  readonly failure?: string | undefined
}

/** Records spans of requests and of what they wait for, and sends them. Never throws. */
export interface Tracing {
  /**
   * Starts the span of a request, as a child of `parent`, and calls `work` with it, or with undefined if the request is not
   * sampled. What is recorded in the asynchronous context of `work` until the span ends belongs to the span.
   */
  begin(request: TracedRequest, work: (span: RequestSpan | undefined) => void): void
  /** Adds a span that ends now to the request in whose asynchronous context it is called, if it is sampled. */
  record(work: TracedWork): void
  /** Sends what is left, for a second at most. */
  close(): Promise<void>
}
