/* The storages, with a browser's localStorage and BroadcastChannel as far as they are used. */
import t, { type Test } from 'tap'
import { type ClientOptions, createClient, LoggedOut } from '../src/index.ts'
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

t.test('localStorage: a tab that hears of an older session saves the newer one again', async (t) => {
  const { items } = aBrowser(t)
  const fetch = async () => Response.json({ access: makeToken({ iat: 0, exp: 300 }), refresh: makeToken({ gen: 1 }) })
  const client = createClient({ baseUrl: 'https://auth.example', storage: localStorageStorage(), fetch })
  t.teardown(() => client.close())
  await client.login('vitor', 'correct horse')
  const newest = items.get('keyturn')
  // As a tab of another process may, whose copy of localStorage is a few milliseconds old.
  const other = localStorageStorage()
  other.subscribe?.(() => {})
  await other.save(session)
  await client.getAccessToken()
  t.equal(items.get('keyturn'), newest)
  t.same(await other.load(), JSON.parse(newest ?? ''))
})

t.test('localStorage: a value of something else is overwritten', async (t) => {
  const { items } = aBrowser(t)
  for (const value of ['5', '"text"', 'null', '{', '{"since":"x"}']) {
    items.set('keyturn', value)
    const fetch = async () => Response.json({ access: 'a', refresh: 'r' })
    const client = createClient({ baseUrl: 'https://auth.example', storage: localStorageStorage(), fetch })
    await t.rejects(client.getAccessToken(), LoggedOut, value)
    await client.login('vitor', 'correct horse')
    await client.getAccessToken()
    client.close()
    t.match(JSON.parse(items.get('keyturn') ?? ''), { refresh: 'r' }, value)
  }
})

const valid = { since: 4e12, ended: 0, step: 1, at: 0, access: makeToken({ iat: 0, exp: 1 }), refresh: 'stolen' }
/** What no client has saved: each must count as no session. As text, since JSON has numbers that JavaScript writes otherwise. */
const poison: readonly string[] = [
  ...['', '{', 'null', 'true', '5', '"text"', '[]', '[[]]', '{}', '{"then":5}', '{"since":4e12}'],
  JSON.stringify({ version: 2, session: valid }),
  ...[
    ...['access', 'refresh'].flatMap((name) => ['null', '5', 'true', '{}', '["a"]'].map((value) => [name, value])),
    ...['since', 'ended', 'step'].flatMap((name) =>
      ['null', '"5"', 'true', '{}', '[]', '1e999', '-1e999', '1e300', '-1e300'].map((value) => [name, value])
    ),
    ...['"x"', 'null', '1e999'].map((value) => ['at', value])
  ].map(([name, value]) => JSON.stringify({ ...valid, [`${name}`]: '?' }).replace('"?"', `${value}`))
]

t.test('a poisoned value in any storage counts as no session, and the next login overwrites it', async (t) => {
  const { items } = aBrowser(t)
  const parsed = (): Session | undefined => {
    try {
      return JSON.parse(items.get('keyturn') ?? '')
    } catch {
      return undefined
    }
  }
  const save = (session: Session) => void items.set('keyturn', JSON.stringify(session))
  const keychain = {
    getItem: async (key: string) => items.get(key),
    setItem: async (key: string, text: string) => void items.set(key, text)
  }
  const storages = {
    localStorage: () => localStorageStorage(),
    asynchronous: () => asyncStorage(keychain),
    custom: () => ({ load: parsed, save })
  }
  let requests = 0
  const fetch = async () => {
    requests++
    return Response.json({ access: makeToken({ iat: 0, exp: Date.now() }), refresh: makeToken({ gen: 0 }) })
  }
  for (const text of poison) {
    for (const [name, open] of Object.entries(storages)) {
      items.set('keyturn', text)
      const client = createClient({ baseUrl: 'https://auth.example', storage: open(), fetch })
      requests = 0
      await t.rejects(client.getAccessToken(), LoggedOut, `${name}: ${text}`)
      await t.rejects(client.fetch('https://api.example/'), LoggedOut, `${name}: ${text}`)
      t.equal(requests, 0)
      await client.login('vitor', 'correct horse')
      t.match(await client.getAccessToken(), /^eyJ/)
      client.close()
      const reloaded = createClient({ baseUrl: 'https://auth.example', storage: open(), fetch })
      t.match(await reloaded.getAccessToken(), /^eyJ/, `${name}: ${text}`)
      t.equal(requests, 1, `${name}: ${text}`)
      reloaded.close()
    }
    items.set('keyturn', text)
    const client = createClient({ baseUrl: 'https://auth.example', mode: 'cookie', fetch })
    requests = 0
    t.match(await client.getAccessToken(), /^eyJ/, `cookie: ${text}`)
    t.equal(requests, 1, 'the cookie decides')
    client.close()
  }
})

t.test('poisoned news from another tab changes nothing', async (t) => {
  const { items } = aBrowser(t)
  const fetch = async () =>
    Response.json({ access: makeToken({ iat: 0, exp: Date.now() }), refresh: makeToken({ gen: 0 }) })
  const client = createClient({ baseUrl: 'https://auth.example', storage: localStorageStorage(), fetch })
  await client.login('vitor', 'correct horse')
  const [access, saved] = [await client.getAccessToken(), items.get('keyturn')]
  const other = new BroadcastChannel('keyturn')
  for (const text of poison.slice(2)) {
    other.postMessage(JSON.parse(text))
    t.equal(await client.getAccessToken(), access, text)
    t.equal(items.get('keyturn'), saved, text)
  }
  client.close()
})

t.test('tokens whose claims are not an object are opaque', async (t) => {
  const encode = (text: string): string => `x.${Buffer.from(text).toString('base64url')}.y`
  for (const text of ['null', '5', '"text"', '[]', '{"gen":null,"iat":"x","exp":{}}']) {
    const fetch = async () => Response.json({ access: encode(text), refresh: encode(text) })
    const client = createClient({ baseUrl: 'https://auth.example', fetch })
    await client.login('vitor', 'correct horse')
    t.equal(await client.getAccessToken(), encode(text), text)
    t.equal(await client.getAccessToken(encode(text)), encode(text), text)
    client.close()
  }
})

t.test('without BroadcastChannel, tabs find in localStorage what the others have saved', async (t) => {
  aBrowser(t)
  Reflect.deleteProperty(globalThis, 'BroadcastChannel')
  let count = 0
  const fetch = async () => Response.json({ access: `a${++count}`, refresh: makeToken({ gen: count }) })
  const [one, two] = [1, 2].map(() =>
    createClient({ baseUrl: 'https://auth.example', storage: localStorageStorage(), fetch })
  )
  await one?.login('vitor', 'correct horse')
  t.equal(await two?.getAccessToken(), 'a1')
  t.equal(await one?.getAccessToken('a1'), 'a2')
  t.equal(await two?.getAccessToken('a1'), 'a2', 'without a request')
  for (const client of [one, two]) client?.close()
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

/** A client in cookie mode, and what its requests are answered. */
function inCookieMode(answers: Iterable<() => Response>, options: Partial<ClientOptions> = {}) {
  const queue = [...answers]
  const events: string[] = []
  const client = createClient({
    baseUrl: 'https://auth.example',
    mode: 'cookie',
    fetch: async () => (queue.shift() as () => Response)(),
    onStateChange: (state) => events.push(state),
    onLoggedOut: () => events.push('onLoggedOut'),
    ...options
  })
  return { client, queue, events }
}
const granted = (access: string) => () => Response.json({ access })
const noCookie = () => Response.json({ refresh: ['This field is required.'] }, { status: 400 })

t.test('cookie mode: the login of another tab whose token is still on its way leads to a refresh', async (t) => {
  const { items } = aBrowser(t)
  const elsewhere = () => {
    items.set('keyturn', JSON.stringify({ since: 4e12, ended: 0, step: 0 }))
    return granted('former')()
  }
  const { client, queue } = inCookieMode([granted('first'), elsewhere, granted('second')])
  await client.login('vitor', 'correct horse')
  t.equal(await client.getAccessToken('first'), 'second')
  t.same(queue, [])
  client.close()
})

t.test('cookie mode: a tab that missed the logout of another one shows the login once it knows', async (t) => {
  const { items } = aBrowser(t)
  const { client, events } = inCookieMode([granted('first'), noCookie])
  await client.login('vitor', 'correct horse')
  const { since } = JSON.parse(items.get('keyturn') ?? '')
  items.set('keyturn', JSON.stringify({ since: since + 2, ended: 0, step: 0 }))
  await t.rejects(client.getAccessToken('first'), LoggedOut)
  t.same(events, ['loggedIn', 'loggedOut', 'onLoggedOut'])
  client.close()
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
