/* The recipes for clients: React Native and axios with a Keyturn that runs, Swift and Kotlin against the package's rules. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { fillIn, readBlock, startKnownKeyturn } from '../support/recipes.ts'

const root = new URL('../../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')
const packageUrl = new URL('packages/client/dist/src/index.js', root).href

/** Blocks of a page as modules beside stand-ins for the packages that they import. */
async function load<T>(t: Test, entry: string, modules: Record<string, string>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-client-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const [name, text] of Object.entries(modules)) writeFileSync(join(folder, name), text)
  return await import(pathToFileURL(join(folder, entry)).href)
}

const keyturn = await startKnownKeyturn(t)
const api = `${keyturn.url}/api/sessions/`

interface Client {
  fetch(input: string): Promise<Response>
  getAccessToken(): Promise<string>
  login(username: string, password: string): Promise<void>
  logout(): Promise<void>
}

t.test('React Native: a session in the keychain is resumed, refreshed once for 20 calls, and logged out', async (t) => {
  const { access, expired, refresh } = await keyturn.logIn()
  const items = new Map([['keyturn', JSON.stringify({ since: 1, ended: 0, step: 0, at: 0, access: expired, refresh })]])
  Object.assign(globalThis, { keychain: items, navigate: (page: string) => items.set('page', page) })
  const { client } = await load<{ client: Client }>(t, 'app.mjs', {
    'app.mjs': fillIn(readBlock('mobile.md', 'app.js'), {
      "'@keyturn/client'": `'${packageUrl}'`,
      "'expo-secure-store'": "'./expo-secure-store.mjs'",
      'https://auth.example': keyturn.url
    }),
    'expo-secure-store.mjs': `
      export const getItemAsync = async (key) => keychain.get(key) ?? null
      export const setItemAsync = async (key, value) => void keychain.set(key, value)`
  })
  const before = keyturn.count('refresh')
  const answers = await Promise.all(Array.from({ length: 20 }, () => client.fetch(api)))
  t.same([...new Set(answers.map(({ status }) => status))], [200])
  t.not(await client.getAccessToken(), access)
  t.match(JSON.parse(items.get('keyturn') ?? ''), { ended: 0, step: 1 })
  await client.logout()
  t.match(JSON.parse(items.get('keyturn') ?? ''), { ended: 2, refresh: undefined })
  await t.rejects(client.fetch(api), { name: 'LoggedOut' })
  t.equal(keyturn.count('refresh') - before, 1)
  await client.login('vitor', 'correct horse')
  await keyturn.logOut({ refresh: JSON.parse(items.get('keyturn') ?? '').refresh })
  await t.rejects(client.fetch(api), { name: 'LoggedOut' }, 'a session that ended elsewhere')
  t.equal(items.get('page'), 'Login')
})

/** As much of axios as interceptors need. */
const axios = `
  export default {
    create({ baseURL }) {
      const interceptors = {}
      const use = (kind) => ({ use: (...handlers) => { interceptors[kind] = handlers } })
      return {
        interceptors: { request: use('request'), response: use('response') },
        async request(config) {
          const [prepare] = interceptors.request
          const [, onError] = interceptors.response
          const ready = await prepare({ ...config, headers: new Headers(config.headers) })
          const answer = await fetch(baseURL + ready.url, { headers: ready.headers })
          if (answer.ok) return answer
          return onError(Object.assign(new Error('failed'), { config: ready, response: { status: answer.status } }))
        }
      }
    }
  }`

t.test('axios: a request with a token that was refused is repeated once', async (t) => {
  const { access, expired } = await keyturn.logIn()
  const asked: (string | undefined)[] = []
  Object.assign(globalThis, {
    getAccessToken: async (refused?: string) => {
      asked.push(refused)
      return refused === expired ? access : expired
    }
  })
  const modules = {
    'axios.mjs': fillIn(readBlock('browser.md', 'axios.js'), {
      "'axios'": "'./stand-in.mjs'",
      "'./client.js'": "'./client.mjs'",
      'https://api.example': keyturn.url
    }),
    'stand-in.mjs': axios,
    'client.mjs': 'export const client = { getAccessToken }'
  }
  const { api } = await load<{ api: { request(config: object): Promise<Response> } }>(t, 'axios.mjs', modules)
  t.equal((await api.request({ url: '/api/sessions/' })).status, 200)
  t.same(asked, [undefined, expired])
  Object.assign(globalThis, { getAccessToken: async () => expired })
  const again = await load<{ api: typeof api }>(t, 'axios.mjs', modules)
  const error = await again.api.request({ url: '/api/sessions/' }).catch((each) => each)
  t.match(error, { response: { status: 401 } })
})

const rules = ['R1', 'R2', 'R3', 'R4', 'R5', 'R6', 'R7', 'R8', 'R9']

t.test('docs/clients.md has the rules of the state machine, and Swift and Kotlin say where they follow them', (t) => {
  const described = [...read('packages/client/src/client.ts').matchAll(/^ \* (R\d) {2}/gm)].map(([, rule]) => rule)
  t.same(described, rules)
  t.same(
    [...read('docs/clients.md').matchAll(/^\| (R\d) \|/gm)].map(([, rule]) => rule),
    rules
  )
  for (const file of ['KeyturnClient.swift', 'KeyturnClient.kt']) {
    const cited = new Set([...readBlock('mobile.md', file).matchAll(/\b(R\d)\b/g)].map(([, rule]) => rule))
    t.same([...cited].toSorted(), rules, file)
  }
  t.end()
})

t.test('Swift and Kotlin have the numbers, paths and statuses of the package', (t) => {
  const source = read('packages/client/src/rules.ts') + read('packages/client/src/client.ts')
  /** What the package has, and how the recipes write it. */
  const pairs: readonly (readonly [ours: RegExp, theirs: RegExp])[] = [
    [/0\.7 \+ 0\.2 \* random/, /0\.7 \+ 0\.2 \* (Double\.random\(in: 0\.\.\.1\)|Random\.nextDouble\(\))/],
    [/retryAfter \* \(1 \+ random \/ 4\)/, /\* \(1 \+ jitter \/ 4\)/],
    [
      /Math\.min\(0\.25 \* 2 \*\* attempt, 8\) \* \(0\.5 \+ random\)/,
      /min\(0\.25 \* .*, 8(\.0)?\)\)? \* \(0\.5 \+ jitter\)/
    ],
    [/firstAttemptMs = 4000/, /4 \* (pow\(2, attempt\)|2\.0\.pow\(attempt\))/],
    [/timeoutMs \?\? 30_000/, /30(_000|\b)/],
    [
      /status > 400 \|\| !answer\.body/,
      /body == (nil|null) \|\| (answer\.)?status > 401 \|\| \((answer\.)?status == 401 && /
    ],
    [/\b86_400\b/, /\b86_400(\.0)?\b/],
    [/\[400, 403, 404\]/, /400, 403, 404/],
    [
      /status === 401 && body\?\.detail/,
      /status == 401(, body\?\["detail"\] != nil| && answer\.body\.text\("detail"\) != null)/
    ],
    [
      /a\.since - b\.since \|\|\s+a\.ended - b\.ended/,
      /since, (other\.)?ended, (other\.)?step|Session::since, Session::ended, Session::step/
    ],
    [/'\/api\/token\/'/, /"\/api\/token\/"/],
    [/'\/api\/token\/refresh\/'/, /"\/api\/token\/refresh\/"/],
    [/'\/api\/token\/blacklist\/'/, /"\/api\/token\/blacklist\/"/]
  ]
  const all = source + read('packages/client/src/session.ts')
  for (const [ours, theirs] of pairs) {
    t.match(all, ours)
    for (const file of ['KeyturnClient.swift', 'KeyturnClient.kt']) t.match(readBlock('mobile.md', file), theirs, file)
  }
  t.end()
})
