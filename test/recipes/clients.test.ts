/* The clients of docs/recipes, with a Keyturn that runs: 20 requests at once, under an access token that has expired. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { fillIn, readBlock, startKnownKeyturn } from '../support/recipes.ts'
import { atMost } from '../support/slack.ts'
import { untilRefused } from './proxies.ts'

const app = 'https://app.example'
const keyturn = await startKnownKeyturn(t)
const withCookies = await startKnownKeyturn(t, { COOKIE_MODE: 'on', COOKIE_ORIGINS: app })
const api = `${keyturn.url}/api/sessions/`
const twenty = Array.from({ length: 20 })

/** A page's session.js as a module of its own, so that each has a state of its own. */
async function load<T>(t: Test, page: string, places: Record<string, string> = {}): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-client-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'session.mjs')
  writeFileSync(file, fillIn(readBlock(page, 'session.js'), places))
  return await import(pathToFileURL(file).href)
}

type Send = (request: Request) => Promise<Response>

/** Puts `between` into each request of this test, which may answer by itself or send it on. Tells what was sent. */
function intercept(
  t: Test,
  between: (request: Request, send: Send) => Promise<Response> = (request, send) => send(request)
) {
  const real = globalThis.fetch
  const sent: string[] = []
  globalThis.fetch = (input, init) => {
    const request = new Request(input, init)
    sent.push(new URL(request.url).pathname)
    return between(request, (each) => real(each))
  }
  t.teardown(() => {
    globalThis.fetch = real
  })
  return { count: (path: string) => sent.filter((each) => each.startsWith(path)).length }
}

/** Resolves, for each who calls it, when the twentieth does: all of them have met the expired token before one refreshes. */
function meetingOfTwenty(): () => Promise<void> {
  let missing = twenty.length
  let open = () => {}
  const all = new Promise<void>((resolve) => {
    open = resolve
  })
  return async () => {
    if (--missing === 0) open()
    await all
  }
}

const isRefresh = ({ url }: Request): boolean => url.endsWith('/api/token/refresh/')

interface Tokens {
  readonly access: string
  readonly refresh: string
}

interface MobileSession {
  fetch(resource: string, init?: RequestInit): Promise<Response>
  logIn(username: string, password: string): Promise<boolean>
  logOut(): Promise<void>
}

interface MobileModule {
  openSession(options: {
    url: string
    load(): Promise<Tokens | undefined>
    save(tokens?: Tokens): Promise<void>
    onSignedOut(): void
  }): Promise<MobileSession>
}

/** The app as it is opened after a while: its access token has expired. */
async function openApp(t: Test) {
  const { access, expired, refresh } = await keyturn.logIn()
  return { ...(await openWith(t, { access: expired, refresh })), first: { access, refresh } }
}

async function openWith(t: Test, tokens: Tokens | undefined) {
  const device = { tokens, signedOut: 0 }
  const { openSession } = await load<MobileModule>(t, 'mobile.md')
  const session = await openSession({
    url: keyturn.url,
    load: async () => device.tokens,
    save: async (next) => {
      device.tokens = next
    },
    onSignedOut: () => {
      device.signedOut++
    }
  })
  return { session, device }
}

const statuses = (answers: readonly Response[]): number[] => [...new Set(answers.map(({ status }) => status))]

t.test('mobile: 20 requests at once', async (t) => {
  const { session, device, first } = await openApp(t)
  const meet = meetingOfTwenty()
  const sent = intercept(t, async (request, send) => {
    const answer = await send(request)
    if (answer.status === 401) await meet()
    return answer
  })
  t.same(statuses(await Promise.all(twenty.map(() => session.fetch(api)))), [200])
  t.equal(sent.count('/api/token/refresh/'), 1, 'one refresh')
  t.equal(sent.count('/api/sessions/'), 40, 'each is sent again once')
  t.not(device.tokens?.refresh, first.refresh, 'the newest are kept')
  t.equal((await session.fetch(api, { headers: [['accept', 'application/json']] })).status, 200)
  t.equal(sent.count('/api/token/refresh/'), 1)
  t.equal(device.signedOut, 0)
})

t.test('mobile: a 401 that comes after the refresh', async (t) => {
  const { session } = await openApp(t)
  let arrive = () => {}
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const sent = intercept(t, async (request, send) => {
    const answer = await send(request)
    if (request.headers.has('x-late') && answer.status === 401) await arrived
    return answer
  })
  const late = session.fetch(api, { headers: { 'x-late': '' } })
  t.equal((await session.fetch(api)).status, 200)
  arrive()
  t.equal((await late).status, 200)
  t.equal(sent.count('/api/token/refresh/'), 1, 'takes the token that is there by now')
})

t.test('mobile: an answer that is lost', async (t) => {
  const { session, device } = await openApp(t)
  let isLost = false
  const sent = intercept(t, async (request, send) => {
    const answer = await send(request)
    if (!isRefresh(request) || isLost) return answer
    isLost = true
    throw new TypeError('fetch failed')
  })
  t.same(statuses(await Promise.all(twenty.map(() => session.fetch(api)))), [200])
  t.equal(sent.count('/api/token/refresh/'), 2)
  t.equal(device.signedOut, 0)
  const again = await openWith(t, device.tokens)
  t.equal((await again.session.fetch(api)).status, 200, 'the newest were kept')
})

t.test('mobile: a service that cannot say', async (t) => {
  const { session, device, first } = await openApp(t)
  let isAway = true
  intercept(t, async (request, send) =>
    isAway && isRefresh(request) ? new Response('{}', { status: 503 }) : await send(request)
  )
  const results = await Promise.allSettled(twenty.map(() => session.fetch(api)))
  t.ok(results.every(({ status }) => status === 'rejected'))
  t.equal(device.signedOut, 0)
  t.equal(device.tokens?.refresh, first.refresh, 'keeps its tokens')
  isAway = false
  t.equal((await session.fetch(api)).status, 200)
})

t.test('mobile: a session that has ended', async (t) => {
  const { session, device, first } = await openApp(t)
  await keyturn.logOut(first)
  const sent = intercept(t)
  t.same(statuses(await Promise.all(twenty.map(() => session.fetch(api)))), [401])
  t.equal(sent.count('/api/token/refresh/'), 1)
  t.equal(sent.count('/api/sessions/'), 20, 'none is sent again')
  t.same(device, { tokens: undefined, signedOut: 1 })
  t.ok(await session.logIn('vitor', 'correct horse'))
  t.equal((await session.fetch(api)).status, 200)
})

t.test('mobile: an API that refuses whatever comes', async (t) => {
  const { session, device } = await openApp(t)
  const sent = intercept(t, async (request, send) =>
    request.url === api ? new Response('{}', { status: 401 }) : await send(request)
  )
  t.equal((await session.fetch(api)).status, 401)
  t.equal(sent.count('/api/sessions/'), 2, 'one retry')
  t.equal(device.signedOut, 0)
})

t.test('mobile: a logout during the refresh', async (t) => {
  const { session, device, first } = await openApp(t)
  intercept(t, async (request, send) => {
    const answer = await send(request)
    if (isRefresh(request)) await session.logOut()
    return answer
  })
  t.equal((await session.fetch(api)).status, 401)
  t.same(device, { tokens: undefined, signedOut: 0 }, 'stays logged out')
  const ask = () => fetch(api, { headers: { authorization: `Bearer ${first.access}` } })
  t.ok((await untilRefused(ask)) < atMost(1000), 'and the session is over')
})

interface BrowserModule {
  accessToken(): string | undefined
  whenSignedOut(listener: () => void): void
  logIn(username: string, password: string): Promise<boolean>
  logOut(): Promise<void>
  renew(used: string | undefined): Promise<void>
}

/** A browser: it keeps cookies and sends Origin, as Node's fetch does not. The access token of a login has expired. */
function browse(t: Test) {
  const jar = new Map<string, string>()
  const meet = meetingOfTwenty()
  return intercept(t, async (request, send) => {
    const headers = new Headers(request.headers)
    headers.set('origin', app)
    if (request.credentials === 'include') headers.set('cookie', [...jar].map((pair) => pair.join('=')).join('; '))
    const answer = await send(new Request(request, { headers }))
    for (const line of answer.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      jar.set(name, value)
    }
    if (answer.status === 401 && request.url.endsWith('/api/sessions/')) await meet()
    if (!request.url.endsWith('/api/token/')) return answer
    const { access } = (await answer.json()) as Tokens
    return Response.json({ access: withCookies.expire(access) })
  })
}

const openTab = (t: Test): Promise<BrowserModule> =>
  load<BrowserModule>(t, 'browser.md', { 'https://auth.example': withCookies.url })

t.test('browser: 20 requests at once', async (t) => {
  const sent = browse(t)
  const tab = await openTab(t)
  let signedOut = 0
  tab.whenSignedOut(() => signedOut++)
  /** What api.js does with axios. */
  const call = async (isSecond = false): Promise<Response> => {
    const used = tab.accessToken()
    const answer = await fetch(`${withCookies.url}/api/sessions/`, { headers: { authorization: `Bearer ${used}` } })
    if (answer.status !== 401 || isSecond) return answer
    await tab.renew(used)
    return tab.accessToken() === undefined ? answer : await call(true)
  }

  await tab.renew(undefined)
  t.equal(signedOut, 1, 'without a cookie')
  t.ok(await tab.logIn('vitor', 'correct horse'))
  const before = sent.count('/api/token/refresh/')
  t.same(statuses(await Promise.all(twenty.map(() => call()))), [200])
  t.equal(sent.count('/api/token/refresh/') - before, 1, 'one refresh')
  await tab.renew('an older one')
  t.equal(sent.count('/api/token/refresh/') - before, 1, 'none for a 401 that comes late')

  const others = await Promise.all([openTab(t), openTab(t)])
  await Promise.all(others.map(({ renew }) => renew(undefined)))
  t.ok(
    others.every(({ accessToken }) => accessToken() !== undefined),
    'two tabs that are opened at once go on with it'
  )
  await tab.logOut()
  t.equal(tab.accessToken(), undefined)
  const afterwards = await openTab(t)
  await afterwards.renew(undefined)
  t.equal(afterwards.accessToken(), undefined, 'a tab after the logout')
  t.equal(signedOut, 1)
})
