/* What ships: its size, and that it needs neither a browser's globals nor eval. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { createContext, runInContext } from 'node:vm'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import * as entry from '../src/index.ts'
import { makeToken } from './world.ts'

const run = promisify(execFile)
const modules = ['errors', 'session', 'rules', 'storage', 'options', 'client', 'index']

/** The compiled modules as one script. */
const script = modules
  .map((name) => readFileSync(new URL(`../src/${name}.js`, import.meta.url), 'utf8'))
  .join('\n')
  .replace(/^import [^;]*;$|^export \{[^;]*;$|^\/\/# .*$/gm, '')
  .replace(/^export /gm, '')

/** About what a minifier does: no comments, no indentation, short private names. */
function minify(code: string): string {
  const names = new Map<string, string>()
  return code
    .replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
    .replace(/#[a-z]\w+/gi, (name) => {
      if (!names.has(name)) names.set(name, `#${String.fromCharCode(97 + names.size)}`)
      return names.get(name) as string
    })
    .replace(/\s*\n\s*/g, '\n')
    .replace(/ ?([=+*/<>?:;,{}()|&-]+) ?/g, '$1')
}

t.test('the package has at most 3 kB when it is minified and gzipped', async (t) => {
  // esbuild makes 2,988 bytes of what is 3,558 here, where local names keep their length, and terser 5 makes 2,963.
  // test/recipes/browser.test.ts measures what esbuild makes.
  const size = gzipSync(minify(script), { level: 9 }).length
  t.ok(size > 2500 && size <= 3570, `${size} bytes`)
})

t.test('the package exports its interface and nothing else', async (t) => {
  t.same(Object.keys(entry).sort(), [
    'InvalidCredentials',
    'LoggedOut',
    'Rejected',
    'Throttled',
    'Unavailable',
    'asyncStorage',
    'createClient',
    'isNewer',
    'localStorageStorage',
    'memoryStorage',
    'tabStorage'
  ])
})

t.test('it works without window, as in React Native, and where eval is forbidden', async (t) => {
  const sent: string[] = []
  const globals = {
    // No window, document, localStorage, BroadcastChannel and atob; signals that cannot be combined and have no reason.
    AbortController: class extends AbortController {
      constructor() {
        super()
        Object.defineProperty(this.signal, 'reason', { value: undefined })
      }
    },
    AbortSignal: {},
    Request,
    URL,
    clearTimeout,
    queueMicrotask,
    setTimeout,
    fetch: async (input: string | Request): Promise<Response> => {
      const path = new URL(typeof input === 'string' ? input : input.url).pathname
      sent.push(path)
      if (path === '/orders') return Response.json({}, { status: sent.includes('/api/token/refresh/') ? 200 : 401 })
      return Response.json({ access: makeToken({ jti: sent.length, iat: 0, exp: 300 }), refresh: `r${sent.length}` })
    }
  }
  const context = createContext(globals, { codeGeneration: { strings: false, wasm: false } })
  t.throws(() => runInContext("eval('1')", context), { name: 'EvalError' })
  runInContext(`${script}\nglobalThis.createClient = createClient; globalThis.asyncStorage = asyncStorage`, context)
  const items = new Map<string, string>()
  const { createClient, asyncStorage } = context as unknown as typeof entry
  const storage = asyncStorage({
    getItem: async (key) => items.get(key),
    setItem: async (key, value) => void items.set(key, value)
  })
  const client = createClient({ baseUrl: 'https://auth.example', storage })
  await client.login('vitor', 'correct horse')
  const { signal } = new AbortController()
  t.equal((await client.fetch('https://api.example/orders', { signal })).status, 200)
  await client.logout()
  t.same(sent, ['/api/token/', '/orders', '/api/token/refresh/', '/orders', '/api/token/blacklist/'])
  t.match(items.get('keyturn'), /"ended":2/)
  globals.fetch = () => new Promise(() => {})
  const login = client.login('vitor', 'correct horse')
  setImmediate(() => client.close())
  await t.rejects(login, { name: 'Unavailable', message: 'aborted' })
})

t.test('a client keeps no process running that has nothing to do', async (t) => {
  const program = `
    import { createClient, tabStorage } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)}
    const fetch = async () => Response.json({ access: 'a', refresh: 'r' })
    for (const mode of ['token', 'cookie']) {
      const client = createClient({ baseUrl: 'https://auth.example', mode, fetch })
      await client.login('vitor', 'correct horse')
      console.log(client.state)
    }`
  const { stdout, stderr } = await run(process.execPath, ['--no-warnings', '--input-type=module', '-e', program])
  t.equal(stdout, 'loggedIn\nloggedIn\n')
  t.equal(stderr, '')
})
