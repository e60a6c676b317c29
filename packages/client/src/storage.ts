import { isNewer, type Session } from './session.ts'

/**
 * Where a client keeps its session. Implement it for other places; `load` and `save` may be asynchronous.
 *
 * `load` rejects when it cannot know (a locked keychain): the client then reports `Unavailable` instead of a logout.
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
    return undefined
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

interface Items<T> {
  getItem(key: string): T
  setItem(key: string, value: string): unknown
}

/** Storage with asynchronous items, such as React Native's AsyncStorage or an adapter to the device's keychain. */
export const asyncStorage = (items: Items<Promise<string | null | undefined>>, key = 'keyturn'): SessionStorage => ({
  load: async () => parse(await items.getItem(key)),
  save: async (session) => {
    await items.setItem(key, JSON.stringify(session))
  }
})

/**
 * Shared by the tabs of an origin: `visible` of a session goes to localStorage, all of it to the other tabs by BroadcastChannel.
 * Without localStorage it is the page's memory.
 */
function tabs(key: string, visible: (session: Session) => Partial<Session>): SessionStorage {
  let items: Items<string | null> | undefined
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
      return stored && (!kept || isNewer(stored, kept)) ? stored : kept
    },
    save(session) {
      kept = session
      channel?.postMessage(session)
      items.setItem(key, JSON.stringify(visible(session)))
    },
    subscribe(listener) {
      channel = new BroadcastChannel(key)
      channel.onmessage = ({ data }) => {
        kept = data
        listener(data)
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
 * For cookie mode: tokens stay in memory. localStorage keeps only when the user logged in or out, because a logout that did not
 * reach the service must survive a reload: the cookie is still there. After one that did, the cookie decides again, since a sibling
 * host may have logged in.
 */
export const tabStorage = (key = 'keyturn'): SessionStorage =>
  tabs(key, ({ since, ended, step }) =>
    ended === 2 ? { since: since + 1, ended: 0, step: 0 } : { since, ended, step }
  )
