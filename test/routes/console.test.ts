import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { printableText } from '../../src/printable.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'

/** The most that a browser loads, in bytes. */
const maxSize = 60_000

/** Every file of the page by its path: the document, what it names, and what its scripts and styles import. */
async function readPage({ app }: TestApp): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>()
  const read = async (path: string): Promise<void> => {
    if (files.has(path)) return
    const { statusCode, body } = await app.inject(path)
    if (statusCode !== 200) throw new Error(`${path}: ${statusCode}`)
    files.set(path, body)
    const names = [...body.matchAll(/(?:\b(?:src|href)=|\bfrom |\bimport\()["']([\w./-]+)["']/g)]
    for (const [, name = ''] of names) await read(new URL(name, `http://host${path}`).pathname)
  }
  await read('/console/')
  return files
}

t.test('the page is served only where it is on', async (t) => {
  const off = await openApp(t)
  for (const path of ['/console', '/console/', '/console/main.js'])
    t.equal((await off.app.inject(path)).statusCode, 404, path)

  const { app } = await openApp(t, { CONSOLE: 'on' })
  t.match(await app.inject('/console'), { statusCode: 302, headers: { location: 'console/' } })
  for (const path of ['/console/', '/console/?x=1'])
    t.match(await app.inject(path), { statusCode: 200, headers: { 'content-type': 'text/html; charset=utf-8' } })
  for (const name of ['tsconfig.json', 'main.ts', '..%2fconsole.js', '%2e%2e/console.js', 'constructor', 'index'])
    t.equal((await app.inject(`/console/${name}`)).statusCode, 404, name)
})

t.test('the page shows control characters and marks that reorder text as the commands do', async (t) => {
  // Compiled apart from the tests, which do not know the DOM.
  const { printable } = await import(new URL('../../routes/console/dom.js', import.meta.url).href)
  const all = Array.from({ length: 0x10000 }, (_, unit) => String.fromCharCode(unit)).join('')
  t.equal(printable(all), printableText(all))
  t.equal(printable('\u202erotiv\u001b'), '\\u202erotiv\\u001b')
})

t.test('the page runs its own scripts only, and names no other host', async (t) => {
  const service = await openApp(t, { CONSOLE: 'on' })
  const files = await readPage(service)
  t.ok(files.size > 10, [...files.keys()].join(' '))
  for (const [path, text] of files) {
    const { headers } = await service.app.inject(path)
    t.match(headers, {
      'content-security-policy': /^default-src 'none'; script-src 'self'; style-src 'self'; /,
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer'
    })
    t.match(headers['content-security-policy'], /connect-src 'self'.*frame-ancestors 'none'.*trusted-types 'none'/)
    t.notMatch(headers['content-security-policy'], /unsafe|https?:|\*/)
    t.notMatch(text.replaceAll('http://www.w3.org/2000/svg', ''), /https?:\/\/(?!app\.example)|innerHTML/, path)
  }
  t.notMatch(files.get('/console/'), /<script(?![^>]* src=)|<style| style=| on\w+=/, 'nothing inline')
})

t.test('the page is small', async (t) => {
  const files = await readPage(await openApp(t, { CONSOLE: 'on' }))
  const size = [...files.values()].reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  t.ok(size > 20_000 && size <= maxSize, `${size} bytes`)
})

t.test('a file that has not changed is not sent again', async (t) => {
  const { app } = await openApp(t, { CONSOLE: 'on' })
  for (const path of ['/console/', '/console/main.js', '/console/style.css']) {
    const { headers } = await app.inject(path)
    t.equal(headers['cache-control'], 'no-cache')
    const again = await app.inject({ url: path, headers: { 'if-none-match': String(headers.etag) } })
    t.match(again, { statusCode: 304, body: '' }, path)
    t.equal((await app.inject({ url: path, headers: { 'if-none-match': '"x"' } })).statusCode, 200)
  }
})

t.test('the page sends the scheme of access tokens that the service expects', async (t) => {
  const { app } = await openApp(t, { CONSOLE: 'on', AUTH_HEADER_TYPES: 'A&B,Bearer' })
  t.match((await app.inject('/console/')).body, '<meta name="token-scheme" content="A&amp;B">')
})

t.test('with MANAGEMENT_PORT the page is on that port only, and one can log in there', async (t) => {
  const listen = async ({ app }: TestApp): Promise<string> => {
    const server = app.management
    if (server === undefined) throw new Error('there is no management server')
    await once(server.listen(0, '127.0.0.1'), 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const service = await openApp(t, { MANAGEMENT_PORT: '0' })
  const url = await listen(service)
  t.equal((await fetch(`${url}/console/`)).status, 200)
  t.equal((await fetch(`${url}/console/main.js`)).status, 200)
  for (const path of ['/console', '/console/', '/console/main.js'])
    t.equal((await service.app.inject(path)).statusCode, 404, `${path} is not on the port of the service`)

  await service.addUser('vitor', aPassword)
  const post = async (to: string, path: string, body: object): Promise<Response> =>
    await fetch(`${to}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body)
    })
  const login = await post(url, '/api/token/', { username: 'vitor', password: aPassword })
  const { refresh } = (await login.json()) as { refresh: string }
  const next = (await (await post(url, '/api/token/refresh/', { refresh })).json()) as { refresh: string }
  t.equal((await post(url, '/api/token/blacklist/', next)).status, 200)
  t.equal((await post(url, '/api/token/verify/', { token: refresh })).status, 404, 'no other endpoint')
  t.equal((await service.post('/api/token/', { username: 'vitor', password: aPassword })).statusCode, 200)

  const without = await openApp(t, { MANAGEMENT_PORT: '0', CONSOLE: 'off' })
  const other = await listen(without)
  t.equal((await fetch(`${other}/console/`)).status, 404)
  t.equal((await post(other, '/api/token/', { username: 'vitor', password: aPassword })).status, 404)
})
