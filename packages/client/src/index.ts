import { type Client, KeyturnClient } from './client.ts'
import type { ClientOptions } from './options.ts'

export type { Client, SessionInfo, SessionPage, Sessions } from './client.ts'
export { InvalidCredentials, LoggedOut, Rejected, Throttled, Unavailable } from './errors.ts'
export type { ClientOptions, ClientState } from './options.ts'
export { isNewer, type Session } from './session.ts'
export { asyncStorage, localStorageStorage, memoryStorage, type SessionStorage, tabStorage } from './storage.ts'

/** A client of one Keyturn. It makes no request and holds nothing until it is called. */
export const createClient = (options: ClientOptions): Client => new KeyturnClient(options)
