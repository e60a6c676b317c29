import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Verified } from './claims.ts'
import { VerifierError } from './errors.ts'
import { readScopes, type VerifyOptions } from './options.ts'
import type { Verifier } from './verifier.ts'

declare global {
  namespace Express {
    interface Request {
      /** Set by `authenticate`. */
      auth?: Verified
    }
  }
}

export type Middleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void

/**
 * Express or connect middleware: sets `request.auth`, or answers 401, 403 or 503 in JSON. Throws TypeError for invalid options.
 */
export function authenticate(verifier: Verifier, options?: VerifyOptions): Middleware {
  readScopes(options)
  return (request, response, next) => {
    verifier.verifyRequest(request, options).then(
      (auth) => next(void Object.assign(request, { auth })),
      (error: unknown) => {
        if (!(error instanceof VerifierError)) return next(error)
        response.writeHead(error.status, { ...error.headers, 'content-type': 'application/json' })
        response.end(JSON.stringify(error))
      }
    )
  }
}
