/** What README.md prints is run as a new user would: with the package as npm packs it, in a folder of its own. */
import { execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { aService, event, freePort, inSixMinutes, sse, status, until } from './support.ts'

const run = promisify(execFile)
const packageFolder = fileURLToPath(new URL('../..', import.meta.url))
const modules = join(packageFolder, '../../node_modules')
const readme = readFileSync(join(packageFolder, 'README.md'), 'utf8')

const folder = mkdtempSync(join(tmpdir(), 'keyturn-verifier-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

/** The block of README.md whose first line names `file`, as that file. */
function writeBlock(file: string): void {
  const blocks = [...readme.matchAll(/^```js\n(\/\/ (\S+)\n[\s\S]*?)^```$/gm)].filter(([, , name]) => name === file)
  t.equal(blocks.length, 1, `README.md has ${file}`)
  writeFileSync(join(folder, file), blocks[0]?.[1] ?? '')
}

t.before(async () => {
  const pack = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]
  const { stdout } = await run('npm', pack, { cwd: packageFolder })
  const [{ filename, files, size }] = JSON.parse(stdout) as [
    { filename: string; files: readonly { path: string }[]; size: number }
  ]
  const unexpected = files.filter(
    ({ path }) => !/^(README\.md|LICENSE|package\.json|dist\/src\/[a-z]+(\.js|\.d\.ts))$/.test(path)
  )
  t.same(unexpected, [], 'only what is used is packed')
  t.ok(size < 30_000, `${size} bytes packed`)
  mkdirSync(join(folder, 'node_modules/@keyturn/verifier'), { recursive: true })
  await run('tar', ['-xzf', filename, '--strip-components=1', '-C', 'node_modules/@keyturn/verifier'], { cwd: folder })
  for (const name of ['jose', 'express', 'fastify'])
    symlinkSync(join(modules, name), join(folder, 'node_modules', name))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
})

for (const framework of ['express', 'fastify']) {
  t.test(`README: the example for ${framework}`, async (t) => {
    let revoke = (_sid: string): void => {}
    const service = await aService(t, (_request, response) => {
      sse(response).write(event('caught-up', status(), 'e.1'))
      revoke = (sid) => response.write(event('revoked', [{ sid, until: inSixMinutes() }], 'e.2'))
    })
    writeBlock(`${framework}.js`)
    const port = await freePort()
    const { issuer, client } = service.options
    const env = {
      PATH: process.env.PATH,
      PORT: `${port}`,
      KEYTURN_ISSUER: issuer,
      KEYTURN_CLIENT_ID: client.id,
      KEYTURN_CLIENT_SECRET: client.secret
    }
    const child = spawn(process.execPath, [`${framework}.js`], { cwd: folder, env, stdio: 'inherit' })
    t.teardown(() => child.kill('SIGKILL'))
    const get = (path: string, token?: string, method = 'GET'): Promise<Response> =>
      fetch(`http://127.0.0.1:${port}${path}`, {
        method,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` }
      })
    const isReady = async (): Promise<boolean> => (await get('/ready').catch(() => undefined))?.status === 200
    await until(isReady)

    const token = await service.token({ userId: '7', sessionId: 's' })
    const answer = await get('/orders', token)
    t.same([answer.status, await answer.json()], [200, { user: '7' }])

    const missing = await get('/orders')
    t.same(await missing.json(), {
      detail: 'Authentication credentials were not provided.',
      code: 'not_authenticated'
    })
    t.same([missing.status, missing.headers.get('www-authenticate')], [401, 'Bearer realm="api"'])

    const writer = await service.token({ userId: '8', scopes: ['orders.write'] })
    t.equal((await get('/orders', writer, 'POST')).status, 201)
    const forbidden = await get('/orders', token, 'POST')
    t.equal(forbidden.status, 403)
    t.match(forbidden.headers.get('www-authenticate'), /insufficient_scope.*orders\.write/)

    revoke('s')
    await until(async () => (await get('/orders', token)).status !== 200)
    const refused = await get('/orders', token)
    t.same([refused.status, await refused.json()], [401, { detail: 'Token is blacklisted', code: 'token_not_valid' }])
  })
}

for (const framework of ['express', 'fastify']) {
  t.test(`README: the example for ${framework} reports why it is not ready`, async (t) => {
    const service = await aService(t, (_request, response) => void response.writeHead(403).end())
    writeBlock(`${framework}.js`)
    const env = {
      PATH: process.env.PATH,
      PORT: '0',
      KEYTURN_ISSUER: service.options.issuer,
      KEYTURN_CLIENT_ID: 'orders',
      KEYTURN_CLIENT_SECRET: 'of a client without the scope'
    }
    const child = spawn(process.execPath, [`${framework}.js`], { cwd: folder, env })
    t.teardown(() => child.kill('SIGKILL'))
    let reported = ''
    child.stderr.setEncoding('utf8').on('data', (text) => {
      reported += text
    })
    await until(() => /\/api\/revocations\/.* got 403/.test(reported))
  })
}

t.test('README: the example of a test', async (t) => {
  writeBlock('orders.test.js')
  const { stdout } = await run(process.execPath, ['--test', 'orders.test.js'], { cwd: folder })
  t.match(stdout, /pass 2\n/)
})

t.test('README: names every option, and no other', async (t) => {
  const [, table = ''] = /## Options\n([\s\S]*?)\n\n[A-Z]/.exec(readme) ?? []
  const names = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name)
  const { createVerifier } = await import('../src/index.ts')
  t.throws(() => createVerifier({ x: 1 } as never), { message: `unknown option x: expected ${names.join(', ')}` })
})
