import type { LightMyRequestResponse } from 'fastify'
import type { Actor } from '../../src/flows/management/act.ts'
import type { TestApp } from './app.ts'
import { addClient } from './client.ts'

/** Who acts at a command line. */
export const anOperator: Actor = { actor: 'root@host', ip: '', requestId: '', scopes: undefined }

export type Call = (
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  url: string,
  body?: object
) => Promise<LightMyRequestResponse>

/** Calls endpoints with an access token; without one, without credentials. */
export const callAs =
  ({ app }: Pick<TestApp, 'app'>, token: string | undefined): Call =>
  (method, url, body) =>
    app.inject({
      method,
      url,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { payload: body })
    })

/** An access token of a new client that has these scopes. */
export async function clientToken(service: TestApp, id: string, ...scopes: readonly string[]): Promise<string> {
  const client = await addClient(service, id, scopes)
  const { access_token } = (await client.post('/oauth/token', { grant_type: 'client_credentials' })).json()
  return access_token
}

/** An access token of a new user whose `scope` claim has these scopes. */
export async function userToken(service: TestApp, username: string, ...scopes: readonly string[]): Promise<string> {
  const password = 'a password of an operator'
  const { id } = await service.addUser(username, password)
  await service.app.stores.users.setClaims(id, { scope: scopes.join(' ') })
  return (await service.post('/api/token/', { username, password })).json().access
}

/** Whether the audit trail has an entry that matches, and how many. */
export async function auditEntries({ app }: TestApp, event: string): Promise<readonly object[]> {
  return (await app.stores.audit.list(0, 1000)).filter((entry) => entry.event === event)
}
