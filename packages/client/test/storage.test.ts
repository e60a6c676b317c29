/* The storages, with a browser's localStorage and BroadcastChannel as far as they are used. */
import t, { type Test } from 'tap'
import { createClient, LoggedOut } from '../src/index.ts'
import { noSession, type Session } from '../src/session.ts'
import { asyncStorage, localStorageStorage, memoryStorage, tabStorage } from '../src/storage.ts'
import { makeToken } from './world.ts'

const session: Session = { ...noSession, since: 5, step: 2, access: makeToken({ iat: 0, exp: 1 }), refresh: 'secret' }

/** Stands in for a global of browsers, for one test. */
function stub(t: Test, name: string, property: PropertyDescriptor): void {
  const real = Object.getOwnPropertyDescriptor(globalThis, name)
  Object.defineProperty(globalThis, name, { configurable: true, ...property })
  t.teardown(() => {
    if (real === undefined) Reflect.deleteProperty(globalThis, name)
    else Object.defineProperty(globalThis, name, real)
  })
}

function aBrowser(t: Test) {
  const items = new Map<string, string>()
  const channels = new Set<Channel>()
  class Channel {
    onmessage: ((event: { data: unknown }) => void) | undefined
    readonly #name: string
    constructor(name: string) {
      this.#name = name
      channels.add(this)
    }
    postMessage(data: unknown): void {
      for (const other of channels) if (other !== this && other.#name === this.#name) other.onmessage?.({ data })
    }
    close(): void {
      channels.delete(this)
    }
  }
  const value = {
    getItem: (key: string) => items.get(key) ?? null,
    setItem: (key: string, text: string) => void items.set(key, text)
  }
  stub(t, 'localStorage', { value })
  stub(t, 'BroadcastChannel', { value: Channel })
  return { items, channels }
}

t.test('memory and asynchronous items keep a session', async (t) => {
  const items = new Map<string, string>()
  const keychain = {
    getItem: async (key: string) => items.get(key) ?? null,
    setItem: async (key: string, text: string) => void items.set(key, text)
  }
  for (const storage of [memoryStorage(), asyncStorage(keychain)]) {
    t.notOk(await storage.load())
    await storage.save(session)
    t.same(await storage.load(), session)
  }
  items.set('keyturn', '{"since":')
  t.notOk(await asyncStorage(keychain).load(), 'a value that is not JSON')
})

t.test('localStorage keeps the session for all tabs, which hear of each other', async (t) => {
  const { items, channels } = aBrowser(t)
  const [one, two] = [localStorageStorage(), localStorageStorage()]
  const heard: Session[] = []
  const stop = [one, two].map((storage) => storage.subscribe?.((each) => heard.push(each)))
  await one.save(session)
  t.same(await two.load(), session)
  t.same(heard, [session])
  t.match(items.get('keyturn'), /secret/)
  for (const each of stop) each?.()
  t.equal(channels.size, 0)
})

t.test('tabStorage never puts a token into localStorage', async (t) => {
  const { items } = aBrowser(t)
  const [one, two] = [tabStorage(), tabStorage()]
  for (const storage of [one, two]) storage.subscribe?.(() => {})
  await one.save(session)
  t.same(JSON.parse(items.get('keyturn') ?? ''), { since: 5, ended: 0, step: 2 })
  t.same(await one.load(), session)
  t.same(await two.load(), session, 'another tab has it from the channel')
  t.same(await tabStorage().load(), { since: 5, ended: 0, step: 2 }, 'a new page asks with the cookie')
})

t.test('tabStorage: an unfinished logout survives a reload; after a finished one the cookie decides', async (t) => {
  aBrowser(t)
  const leaving: Session = { ...noSession, since: 9, ended: 1 }
  await tabStorage().save(leaving)
  t.match(await tabStorage().load(), { since: 9, ended: 1 })
  await tabStorage().save({ ...leaving, ended: 2 })
  t.match(await tabStorage().load(), { since: 10, ended: 0 })
})

t.test('without localStorage, or where it is forbidden, the session stays in memory', async (t) => {
  stub(t, 'localStorage', {
    get() {
      throw new Error('SecurityError')
    }
  })
  for (const storage of [localStorageStorage(), tabStorage()]) {
    await storage.save(session)
    t.same(await storage.load(), session)
    t.equal(storage.subscribe, undefined)
  }
})

t.test(
  'cookie mode: a page resumes the session of the cookie, and clients that were mounted twice leave nothing',
  async (t) => {
    const { channels } = aBrowser(t)
    const bodies: unknown[] = []
    let hasCookie = true
    const open = () =>
      createClient({
        baseUrl: 'https://auth.example',
        mode: 'cookie',
        fetch: async (_input, init) => {
          t.equal(init?.credentials, 'include')
          bodies.push(JSON.parse(String(init?.body)))
          return hasCookie
            ? Response.json({ access: makeToken({ iat: 0, exp: Date.now() }) })
            : Response.json({ refresh: ['This field is required.'] }, { status: 400 })
        }
      })
    const first = open()
    t.match(await first.getAccessToken(), /^eyJ/)
    t.same(bodies, [{}], 'the cookie is the token')
    first.close()
    const second = open()
    t.match(await second.getAccessToken(), /^eyJ/)
    hasCookie = false
    const third = open()
    await t.rejects(third.getAccessToken(), LoggedOut, 'a page without the cookie')
    t.equal(third.state, 'loggedOut')
    for (const client of [first, second, third]) client.close()
    t.equal(channels.size, 0)
  }
)
