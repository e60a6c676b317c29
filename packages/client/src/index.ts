import { type Client, type ClientOptions, KeyturnClient } from './client.ts'

export type { Client, ClientOptions, ClientState, SessionInfo, SessionPage, Sessions } from './client.ts'
export { InvalidCredentials, LoggedOut, Rejected, Throttled, Unavailable } from './errors.ts'
export type { Session } from './session.ts'
export { asyncStorage, localStorageStorage, memoryStorage, type SessionStorage, tabStorage } from './storage.ts'

/** A client of one Keyturn. It makes no request and holds nothing until it is called. */
export const createClient = (options: ClientOptions): Client => new KeyturnClient(options)
