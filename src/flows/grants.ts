import type { SessionDevice } from '../hooks.ts'
import type { Client } from '../clients/client.ts'
import { parseScope } from '../clients/scope.ts'
import { KeyturnError } from '../errors.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'
import type { Refreshed } from './refresh.ts'

/** The response to a token request (RFC 6749 §5.1), in wire names. */
export interface TokenAnswer {
  readonly access_token: string
  readonly token_type: 'Bearer'
  /** Whole seconds. */
  readonly expires_in: number
  readonly refresh_token?: string
  readonly scope?: string
}

/**
 * The two grants of the token endpoint. There is no password grant: a client would learn the password (RFC 9700 §2.4).
 */
export const makeGrants = (
  { access }: Parts,
  { refresh }: { refresh: (token: string, device: SessionDevice) => Promise<Refreshed> }
) => {
  const bearer = (access_token: string, expires_in: number) =>
    ({ access_token, token_type: 'Bearer', expires_in }) as const

  return {
    /**
     * Exchanges a user's refresh token for its successor (RFC 6749 §6), exactly like /api/token/refresh/, which accepts it
     * without a client too: sessions belong to users, not to clients. Throws the same errors.
     */
    async refreshToken(
      token: string,
      device: SessionDevice
    ): Promise<{ readonly answer: TokenAnswer; readonly outcome: Outcome }> {
      const { access: access_token, expiresIn, refresh: refresh_token, outcome } = await refresh(token, device)
      const next = refresh_token === undefined ? {} : { refresh_token }
      return { answer: { ...bearer(access_token, expiresIn), ...next }, outcome }
    },

    /**
     * Issues a token of the client's own (RFC 6749 §4.4) for the scopes that it requests, by default for all that it may have.
     * Throws KeyturnError SCOPE_INVALID if it may not have one of them.
     */
    clientCredentials(client: Client, asked: string | undefined): TokenAnswer {
      const scopes = asked === undefined ? client.scopes : parseScope(asked)
      if (scopes === undefined || !scopes.every((scope) => client.scopes.includes(scope)))
        throw new KeyturnError('SCOPE_INVALID', { detail: 'The client may not have all of this scope.' })
      return {
        ...bearer(access.issueToClient(client, scopes), access.lifetime),
        ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') })
      }
    }
  }
}
