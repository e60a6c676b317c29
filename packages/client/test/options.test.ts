/* The options of createClient. */
import t from 'tap'
import { type ClientOptions, createClient, LoggedOut } from '../src/index.ts'
import { reply } from './support.ts'
import { makeToken, World } from './world.ts'

t.test('R8: a timer of over 24 days does not fire at once', async (t) => {
  for (const timeoutMs of [2 ** 31, Number.POSITIVE_INFINITY]) {
    const fetch = () =>
      new Promise<Response>((resolve) =>
        setTimeout(() => resolve(Response.json({ access: 'a', refresh: makeToken({ gen: 0 }) })), 5)
      )
    const client = createClient({ baseUrl: 'https://auth.example', timeoutMs, fetch })
    await client.login('vitor', 'correct horse')
    t.equal(await client.getAccessToken(), 'a')
    client.close()
  }
})

t.test('createClient: a base URL that cannot work is a TypeError', async (t) => {
  const create = (baseUrl: unknown) => () => createClient({ baseUrl } as { baseUrl: string })
  for (const baseUrl of [undefined, null, '', 'auth.example', '/auth', '//auth.example', 7, {}])
    t.throws(create(baseUrl), { name: 'TypeError' }, String(baseUrl))
  t.throws(() => (createClient as () => unknown)(), { name: 'TypeError' })
  for (const baseUrl of ['https://auth.example', 'http://127.0.0.1:8000/auth'])
    t.equal(create(baseUrl)().state, 'unknown')
})

t.test('createClient: the origin of a page completes a path', async (t) => {
  Object.defineProperty(globalThis, 'location', { value: new URL('https://shop.example/'), configurable: true })
  t.teardown(() => Reflect.deleteProperty(globalThis, 'location'))
  for (const baseUrl of ['', '/auth', 'https://auth.example']) t.ok(createClient({ baseUrl }))
  t.throws(() => createClient({ baseUrl: 'https://' }), { name: 'TypeError' })
})

t.test('an option that is undefined has its default', async (t) => {
  const undefinedOptions = { mode: undefined, storage: undefined, timeoutMs: undefined, runtime: undefined }
  const fetch = async () => Response.json({ access: 'a', refresh: 'r' })
  const client = createClient({
    baseUrl: 'https://auth.example',
    fetch,
    ...undefinedOptions
  } as object as ClientOptions)
  await client.login('vitor', 'correct horse')
  t.equal(await client.getAccessToken(), 'a')
})

t.test('a login whose answer has no refresh token fails in mode token: the service runs in cookie mode', async (t) => {
  const world = new World()
  const tab = world.openTab()
  world.fate = () => reply(200, { access: makeToken({ gen: 0 }) })
  const call = tab.call('login', (client) => client.login('vitor', 'correct horse'))
  await world.pass(1000)
  t.ok(call.outcome instanceof LoggedOut)
})
