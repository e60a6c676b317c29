import { type Ended, isNewer, type Session } from './session.ts'

/**
 * Where a client keeps its session. Implement it for other places; `load` and `save` may be asynchronous.
 *
 * A client compares with `load` before it calls `save`. If both are synchronous, as with localStorage, nothing comes in
 * between, and no older session is saved over a newer one. If they are asynchronous, this holds for a storage that one client
 * uses. Several clients, such as processes or tabs, may save in between: either `save` compares once more, with `isNewer` and
 * in one transaction, or an older session may remain there until a client that knows the newer one is notified by `subscribe`
 * or reads the storage.
 *
 * A value that is not a session, because it is damaged or of another program, counts as none.
 * `load` rejects if the session cannot be read (a locked keychain): the client then reports `Unavailable` instead of a logout.
 * `subscribe` calls back when another tab has saved a session, and returns a function that ends the subscription.
 */
export interface SessionStorage {
  load(): Session | undefined | Promise<Session | undefined>
  save(session: Session): void | Promise<void>
  subscribe?(listener: (session: Session) => void): () => void
}

/** A value of another form is never newer than a session, so it is ignored. */
function parse(text: string | null | undefined): Session | undefined {
  try {
    return JSON.parse(text as string)
  } catch {
    // Not JSON.
  }
}

/** The session ends with the page or the process. */
export function memoryStorage(): SessionStorage {
  let kept: Session | undefined
  return {
    load: () => kept,
    save: (session) => {
      kept = session
    }
  }
}

interface Items<T, U> {
  getItem(key: string): T
  setItem(key: string, value: string): U
}

/** Storage with asynchronous items, such as React Native's AsyncStorage or an adapter to the device's keychain. */
export const asyncStorage = (
  items: Items<Promise<string | null | undefined>, Promise<unknown>>,
  key = 'keyturn'
): SessionStorage => ({
  load: async () => parse(await items.getItem(key)),
  save: (session) => items.setItem(key, JSON.stringify(session)) as Promise<void>
})

/**
 * Shared by the tabs of an origin: `visible` of a session goes to localStorage, all of it to the other tabs by BroadcastChannel.
 * Without localStorage it is the page's memory.
 */
function tabs(key: string, visible: (session: Session) => Partial<Session>): SessionStorage {
  let items: Items<string | null, void> | undefined
  try {
    items = localStorage
  } catch {
    // The page is not allowed to use it.
  }
  if (!items) return memoryStorage()
  let kept: Session | undefined
  let channel: BroadcastChannel | undefined
  return {
    load() {
      const stored = parse(items.getItem(key))
      return isNewer(stored, kept) ? stored : kept
    },
    save(session) {
      kept = session
      channel?.postMessage(session)
      items.setItem(key, JSON.stringify(visible(session)))
    },
    subscribe(listener) {
      try {
        channel = new BroadcastChannel(key)
        channel.onmessage = ({ data }) => {
          kept = data
          listener(data)
        }
      } catch {
        // An old browser: tabs read what the others have saved before they refresh.
      }
      return () => {
        channel?.close()
        channel = undefined
      }
    }
  }
}

/** The session survives a restart of the browser. Scripts of the page can read its refresh token. */
export const localStorageStorage = (key = 'keyturn'): SessionStorage => tabs(key, (session) => session)

/**
 * For cookie mode: tokens stay in memory. localStorage has only the time of the login or logout. A logout that did not reach
 * the service must survive a reload, because the cookie is still there. After a confirmed logout, the cookie decides again,
 * since a sibling host may have logged in.
 */
export const tabStorage = (key = 'keyturn'): SessionStorage =>
  tabs(key, ({ since, ended, step }) => ({ since: since + (ended >> 1), ended: (ended % 2) as Ended, step }))
