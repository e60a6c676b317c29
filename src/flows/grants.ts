import type { Client } from '../clients/client.ts'
import { parseScope } from '../clients/scope.ts'
import { KeyturnError } from '../errors.ts'
import type { SessionClient } from '../sessions/session.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'
import { makeRefresh } from './refresh.ts'

/** What a token request is answered (RFC 6749 §5.1), in its wire names. */
export interface TokenAnswer {
  readonly access_token: string
  readonly token_type: 'Bearer'
  /** Whole seconds. */
  readonly expires_in: number
  readonly refresh_token?: string
  readonly scope?: string
}

/** As a refresh: a refusal is a value, since it has an outcome that must be told. */
export type GrantResult =
  | { readonly answer: TokenAnswer; readonly outcome: Outcome }
  | { readonly refusal: KeyturnError; readonly outcome: Outcome }

/**
 * The two grants of the token endpoint. There is no password grant: a client would learn the password (RFC 9700 §2.4).
 */
export const makeGrants = (parts: Parts) => {
  const { access } = parts
  const refresh = makeRefresh(parts)
  const bearer = (access_token: string) =>
    ({ access_token, token_type: 'Bearer', expires_in: access.lifetime }) as const

  return {
    /**
     * A user's refresh token for its successor (RFC 6749 §6), exactly as at /api/token/refresh/, where it would be
     * taken without a client too: sessions belong to users, not to clients. Refuses with GRANT_INVALID; throws
     * STORE_DOWN.
     */
    async refreshToken(token: string, requester: SessionClient): Promise<GrantResult> {
      const event = 'refresh'
      try {
        const result = await refresh(token, requester)
        const outcome = { ...result.outcome, event } as const
        if ('refusal' in result) return { refusal: asGrant(result.refusal), outcome }
        const { access: access_token, refresh: refresh_token } = result
        return {
          answer: { ...bearer(access_token), ...(refresh_token === undefined ? {} : { refresh_token }) },
          outcome
        }
      } catch (error) {
        if (error instanceof KeyturnError && error.status < 500) return { refusal: asGrant(error), outcome: { event } }
        throw error
      }
    },

    /**
     * A token of the client's own (RFC 6749 §4.4) for the scopes it asks for, or for all that it may have. Throws
     * KeyturnError SCOPE_INVALID when it may not have one of them.
     */
    clientCredentials(client: Client, asked: string | undefined): TokenAnswer {
      const scopes = asked === undefined ? client.scopes : parseScope(asked)
      if (scopes === undefined || !scopes.every((scope) => client.scopes.includes(scope)))
        throw new KeyturnError('SCOPE_INVALID', { detail: 'The client may not have all of this scope.' })
      return {
        ...bearer(access.issueToClient(client.id, scopes)),
        ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') })
      }
    }
  }
}

const asGrant = (refusal: KeyturnError): KeyturnError =>
  new KeyturnError('GRANT_INVALID', { detail: refusal.words, cause: refusal })
