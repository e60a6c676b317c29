/*
 * The recipes of docs/recipes/browser.md as printed, with the real axios, ky, React, Vue and Angular in Chromium, against a Keyturn
 * in cookie mode on another origin and an API that refuses tokens. `npm ci --prefix test/recipes/clients --ignore-scripts` installs
 * the packages.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { openBrowser } from '../support/browser.ts'
import { isContinuousIntegration } from '../support/engines.ts'
import { aDataDir, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { withoutBrowser } from '../support/needs.ts'
import { readBlock } from '../support/recipes.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../../', import.meta.url))
const packages = join(root, 'test/recipes/clients/node_modules')
const isInstalled = existsSync(packages)
const reason = 'npm ci --prefix test/recipes/clients --ignore-scripts has not been run'
const skip = withoutBrowser() || (!isInstalled && !isContinuousIntegration() && reason)

/** What an app has around the recipes: pages for React, and something that the test can call. */
const entry = `
  import '@angular/compiler'
  import { HttpClient } from '@angular/common/http'
  import { createApplication } from '@angular/platform-browser'
  import { createElement, StrictMode } from 'react'
  import { createRoot } from 'react-dom/client'
  import { firstValueFrom } from 'rxjs'
  import { createApp, h } from 'vue'
  import { App } from './App.jsx'
  import { appConfig } from './app.config'
  import { api as axios } from './axios.js'
  import { client } from './client.js'
  import { api as ky } from './ky.js'
  import { useSession } from './session.js'

  const button = (name, onClick) => createElement('button', { name, onClick }, name)
  window.Login = ({ client }) => button('login', () => client.login('vitor', 'correct horse'))
  // A login that comes before the service has answered takes over.
  window.Orders = ({ client }) => button('logout', () => client.logout().catch(() => {}))

  let reactRoot
  const statusOf = (error) => error.status ?? error.response?.status
  window.client = client
  window.recipes = {
    axios: () => axios.get('/orders').then(({ data }) => data, statusOf),
    axiosPost: () => axios.post('/orders', { item: 7 }).then(({ data }) => data, statusOf),
    ky: () => ky(window.api + '/orders').json().catch(statusOf),
    kyPost: () => ky.post(window.api + '/orders', { json: { item: 7 } }).json().catch(statusOf),
    async angular(url) {
      const app = await createApplication(appConfig)
      return firstValueFrom(app.injector.get(HttpClient).get(url)).catch(statusOf)
    },
    mountReact() {
      reactRoot = createRoot(document.querySelector('#react'))
      reactRoot.render(createElement(StrictMode, undefined, createElement(App)))
    },
    unmountReact: () => reactRoot.unmount(),
    mountVue() {
      const { client, state } = useSession()
      client.getAccessToken().catch(() => {})
      createApp({ render: () => h('p', state.value) }).mount('#vue')
    }
  }`

/** Counts the channels that are open, which is what a client leaves behind that is not closed. */
const page = `<!doctype html><script>
  window.channels = 0
  window.BroadcastChannel = class extends BroadcastChannel {
    constructor(name) { super(name); window.channels++ }
    close() { super.close(); window.channels-- }
  }
</script><div id="react"></div><div id="vue"></div><script type="module" src="/bundle.js"></script>`

/** The page's server, and an API on another origin that refuses as many tokens as the test wants. */
async function startServers(t: Test, bundle: () => string) {
  const api = { url: '', refusals: 0, requests: [] as { token: string; body: string }[] }
  const listen = async (answer: (request: IncomingMessage, response: ServerResponse) => void) => {
    const server = createServer(answer).listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      server.close()
      server.closeAllConnections()
    })
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const pages = { url: '', tokens: [] as (string | undefined)[] }
  pages.url = await listen((request, response) => {
    if (request.url === '/other') pages.tokens.push(request.headers.authorization)
    const isScript = request.url === '/bundle.js'
    response.writeHead(200, { 'content-type': isScript ? 'text/javascript' : 'text/html' })
    response.end(isScript ? bundle() : page)
  })
  api.url = await listen(async (request, response) => {
    const headers = {
      'access-control-allow-origin': pages.url,
      'access-control-allow-headers': 'authorization, content-type'
    }
    if (request.method === 'OPTIONS') return response.writeHead(204, headers).end()
    let body = ''
    for await (const part of request) body += part
    api.requests.push({ token: request.headers.authorization ?? '', body })
    const status = api.refusals-- > 0 ? 401 : 200
    response.writeHead(status, { ...headers, 'content-type': 'application/json' }).end('{"orders":[]}')
  })
  return { pages, api }
}

/** The blocks of the page as an app, in a folder beside the packages. */
function writeApp(t: Test, keyturn: string, api: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-recipes-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  symlinkSync(packages, join(folder, 'node_modules'))
  cpSync(join(root, 'packages/client/dist/src'), join(folder, 'keyturn'), { recursive: true })
  const files = ['client.js', 'axios.js', 'ky.js', 'Session.jsx', 'App.jsx', 'session.js']
  for (const name of [...files, 'keyturn.interceptor.ts', 'app.config.ts']) {
    const text = readBlock('browser.md', name)
    writeFileSync(
      join(folder, name),
      text.replaceAll('https://auth.example', keyturn).replaceAll('https://api.example', api)
    )
  }
  writeFileSync(join(folder, 'entry.js'), entry)
  return folder
}

async function bundle(folder: string): Promise<string> {
  const options = ['--bundle', '--format=esm', '--jsx=automatic', '--alias:@keyturn/client=./keyturn/index.js']
  const { stdout } = await run(join(packages, '.bin/esbuild'), ['entry.js', ...options, '--outfile=bundle.js'], {
    cwd: folder
  })
  return stdout + readFileSync(join(folder, 'bundle.js'), 'utf8')
}

/** A page with the app, and the API behind it. */
async function openApp(t: Test) {
  let script = ''
  const { pages, api } = await startServers(t, () => script)
  const env = {
    DATA_DIR: aDataDir(t),
    COOKIE_MODE: 'on',
    COOKIE_ORIGINS: pages.url,
    CORS_ORIGINS: pages.url
  }
  await runKeyturn(['users', 'create', 'vitor'], env, 'correct horse')
  const keyturn = await startKeyturn(t, env)
  const folder = writeApp(t, keyturn.url, api.url)
  script = await bundle(folder)
  const browser = await openBrowser(t)
  const page = await browser.newPage()
  page.setDefaultTimeout(120_000)
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(String(error)))
  await page.goto(pages.url)
  await page.waitForFunction('window.recipes !== undefined')
  await page.evaluate(`window.api = '${api.url}'`)
  return { page, pages, api, errors }
}

const call = (page: Page, name: string, argument = '') => page.evaluate(`recipes.${name}(${JSON.stringify(argument)})`)

t.test('the recipes for browsers, with the packages that they are for', { skip }, async (t) => {
  const { page, pages, api, errors } = await openApp(t)
  await page.evaluate("client.login('vitor', 'correct horse')")

  /** A token that is refused is replaced once, and the second refusal is the caller's. */
  const repeatsOnce = (name: string, argument?: string) => async (t: Test) => {
    for (const [refusals, expected] of [
      [0, { orders: [] }],
      [1, { orders: [] }],
      [2, 401]
    ] as const) {
      api.refusals = refusals
      api.requests.length = 0
      t.same(await call(page, name, argument), expected, `${name}, ${refusals} refusals`)
      const tokens = api.requests.map(({ token }) => token)
      t.equal(tokens.length, Math.min(refusals + 1, 2))
      t.equal(new Set(tokens).size, tokens.length, 'each with a token of its own')
      t.ok(tokens.every((token) => token.startsWith('Bearer ey')))
      t.equal(new Set(api.requests.map(({ body }) => body)).size, 1, 'with the same body')
    }
  }

  await t.test('axios', repeatsOnce('axios'))
  await t.test('axios, with a body', repeatsOnce('axiosPost'))
  await t.test('ky', repeatsOnce('ky'))
  await t.test('ky, with a body', repeatsOnce('kyPost'))
  await t.test('Angular', repeatsOnce('angular', `${api.url}/orders`))
  await t.test('Angular: a request to another service carries no token', async (t) => {
    await call(page, 'angular', `${pages.url}/other`)
    t.same(pages.tokens, [undefined])
  })
  await t.test('React, in Strict Mode', async (t) => {
    const before = await page.evaluate('window.channels')
    await call(page, 'mountReact')
    await page.click('#react button[name=logout]')
    await page.click('#react button[name=login]')
    await page.waitForSelector('#react button[name=logout]')
    await call(page, 'unmountReact')
    t.equal(await page.evaluate('window.channels'), before, 'nothing is left of either mount')
  })
  await t.test('Vue', async (t) => {
    await call(page, 'mountVue')
    await page.waitForFunction("document.querySelector('#vue').textContent === 'loggedIn'")
    await page.evaluate('client.logout()')
    await page.waitForFunction("document.querySelector('#vue').textContent === 'loggedOut'")
    t.same(errors, [])
  })
})

t.test('the client has at most 3 kB, minified by esbuild and gzipped', { skip: !isInstalled && reason }, async (t) => {
  const entry = join(root, 'packages/client/dist/src/index.js')
  const options = ['--bundle', '--minify', '--format=esm', '--target=es2022']
  const { stdout } = await run(join(packages, '.bin/esbuild'), [entry, ...options])
  const size = gzipSync(stdout, { level: 9 }).length
  t.ok(size <= 3000, `${size} bytes`)
})

t.test('the recipe for Angular has the types of Angular', { skip: !isInstalled && reason }, async (t) => {
  const folder = writeApp(t, 'https://auth.example', 'https://api.example')
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        strict: true,
        noEmit: true,
        target: 'es2022',
        module: 'esnext',
        moduleResolution: 'bundler',
        lib: ['es2022', 'dom'],
        types: [],
        allowJs: true,
        skipLibCheck: true,
        paths: { '@keyturn/client': ['./keyturn/index.d.ts'] }
      },
      files: ['app.config.ts']
    })
  )
  const { stdout } = await run(join(root, 'node_modules/.bin/tsc'), ['-p', folder]).catch((error) => error)
  t.equal(stdout, '')
})
