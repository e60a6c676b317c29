import type { LightMyRequestResponse } from 'fastify'
import { hashSecret } from '../../src/clients/client.ts'
import { randomSecret } from '../../src/random.ts'
import type { TestApp } from './app.ts'

export interface TestClient {
  readonly id: string
  readonly secret: string
  /** As HTTP Basic. */
  readonly authorization: string
  /** POSTs a form in the name of the client. */
  post(path: string, parameters?: Record<string, string>): Promise<LightMyRequestResponse>
}

export const basic = (id: string, secret: string): string => {
  const encode = (text: string) => encodeURIComponent(text).replace(/[!'()*._~-]/g, percent)
  return `Basic ${Buffer.from(`${encode(id)}:${encode(secret)}`).toString('base64')}`
}

/** Libraries encode what encodeURIComponent leaves too. */
const percent = (letter: string): string => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`

export const postForm = (
  { app }: Pick<TestApp, 'app'>,
  url: string,
  parameters: Record<string, string> | string,
  headers: Record<string, string> = {}
): Promise<LightMyRequestResponse> =>
  app.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    payload: new URLSearchParams(parameters).toString()
  })

/** A client that the service knows at once. */
export async function addClient(
  service: Pick<TestApp, 'app'>,
  id = 'gateway',
  scopes: readonly string[] = []
): Promise<TestClient> {
  const secret = randomSecret()
  await service.app.stores.clients.create(id, hashSecret({ id, secret }), scopes)
  await service.app.clients.update()
  const authorization = basic(id, secret)
  return {
    id,
    secret,
    authorization,
    post: (path, parameters = {}) => postForm(service, path, parameters, { authorization })
  }
}
