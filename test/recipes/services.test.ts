/* The services of docs/recipes that verify access tokens by themselves, with the managed keys of a Keyturn that runs. */
import { once } from 'node:events'
import { symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { createSecretKey } from 'node:crypto'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { type Enclosure, findEngines, freePort, openEnclosure, untilReady } from '../support/engines.ts'
import { decodePart, encode, joinSigned } from '../support/forger.ts'
import { withoutDjango, withoutProgram } from '../support/needs.ts'
import { fillIn, type KnownKeyturn, readBlock, startKnownKeyturn, type Tokens } from '../support/recipes.ts'

const issuer = 'https://auth.example'
const jwks = `${issuer}/.well-known/jwks.json`
/** Nothing listens there. */
const nowhere = 'http://127.0.0.1:1/jwks.json'

const keyturn = await startKnownKeyturn(t, { ISSUER: issuer }, 'managed')
const ours = `${keyturn.url}/.well-known/jwks.json`
const tokens = await keyturn.logIn()
const refused = { refresh: tokens.refresh, ...forgeries(keyturn, tokens) }

/** What no service may take, beside a refresh token: each is signed with the right key unless its name says otherwise. */
function forgeries({ key }: KnownKeyturn, { access, expired, tampered, foreign }: Tokens): Record<string, string> {
  const [header, claims] = [decodePart(access, 0), decodePart(access, 1)]
  const sign = (changes: object): string =>
    joinSigned('ES256', key.privateKey, encode(header), encode({ ...claims, ...changes }))
  const pem = createSecretKey(Buffer.from(key.publicKey?.export({ type: 'spki', format: 'pem' }) as string))
  return {
    expired,
    tampered,
    foreign,
    'of another issuer': sign({ iss: 'https://other.example' }),
    'not for access': sign({ token_type: 'refresh' }),
    "a service's own": sign({ user_id: undefined, client_id: 'billing', sub: 'billing' }),
    'without an end': sign({ exp: undefined }),
    unsigned: `${encode({ ...header, alg: 'none' })}.${encode(claims)}.`,
    'the public key for a secret': joinSigned('HS256', pem, encode({ ...header, alg: 'HS256' }), encode(claims)),
    'of an unknown key': joinSigned('ES256', key.privateKey, encode({ ...header, kid: 'x' }), encode(claims)),
    garbage: 'x'
  }
}

type Ask = (token?: string) => Promise<Response>

const askAt =
  (address: string): Ask =>
  (token) =>
    fetch(`http://${address}/api/whoami`, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } })

async function takesOnlyTheValid(t: Test, ask: Ask): Promise<void> {
  const missing = await ask()
  t.equal(missing.status, 401, 'no token')
  t.match(missing.headers.get('www-authenticate'), /^Bearer realm="api"/)
  for (const [name, token] of Object.entries(refused)) t.equal((await ask(token)).status, 401, name)
  const taken = await ask(tokens.access)
  t.equal(taken.status, 200, 'valid')
  t.same(await taken.json(), { user_id: tokens.userId })
}

/** A service that cannot have the keys must not say 401, which logs its clients out. */
async function saysThatItCannotKnow(t: Test, ask: Ask): Promise<void> {
  t.equal((await ask(tokens.access)).status, 503, 'it cannot know')
  t.equal((await ask()).status, 401)
}

/** An enclosure with these files in it, and with Node's packages. */
async function aFolder(t: Test, files: Readonly<Record<string, string>>): Promise<Enclosure> {
  const enclosure = await openEnclosure('service', 'SIGKILL')
  t.teardown(() => enclosure.close())
  for (const [name, text] of Object.entries({ 'package.json': '{"type":"module"}', ...files })) {
    writeFileSync(join(enclosure.directory, name), text)
  }
  symlinkSync(
    fileURLToPath(new URL('../../../node_modules', import.meta.url)),
    join(enclosure.directory, 'node_modules')
  )
  return enclosure
}

/** Starts a service of these files, and resolves when it refuses a request without a token. */
async function startFiles(
  t: Test,
  files: Readonly<Record<string, string>>,
  command: string[],
  port: number
): Promise<Ask> {
  const enclosure = await aFolder(t, files)
  const [program = '', ...args] = command
  const ask = askAt(`127.0.0.1:${port}`)
  const isUp = () =>
    ask().then(
      (answer) => answer.status === 401,
      () => false
    )
  await untilReady(enclosure.spawn(program, args), enclosure, isUp)
  return ask
}

const keyturnJs = (url: string): string => fillIn(readBlock('node.md', 'keyturn.js'), { [jwks]: url })

t.test('Express: its middleware', async (t) => {
  const start = async (url: string): Promise<Ask> => {
    const files = { 'keyturn.js': keyturnJs(url), 'require-user.js': readBlock('express.md', 'require-user.js') }
    const { directory } = await aFolder(t, files)
    const { requireUser } = await import(pathToFileURL(join(directory, 'require-user.js')).href)
    const server = createServer((request, response) =>
      requireUser(request, response, (error?: { statusCode: number }) => {
        response.statusCode = error?.statusCode ?? 200
        const { user } = request as { user?: { user_id?: string } }
        response.end(JSON.stringify({ user_id: user?.user_id }))
      })
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close().closeAllConnections())
    return askAt(`127.0.0.1:${(server.address() as AddressInfo).port}`)
  }
  await takesOnlyTheValid(t, await start(ours))
  await saysThatItCannotKnow(t, await start(nowhere))
  await saysThatItCannotKnow(t, await start(`${keyturn.url}/no-such-endpoint`))
})

t.test('Fastify', async (t) => {
  const start = async (url: string): Promise<Ask> => {
    const port = await freePort()
    const server = fillIn(readBlock('fastify.md', 'server.js'), { 'port: 3000': `port: ${port}, host: '127.0.0.1'` })
    return await startFiles(
      t,
      { 'keyturn.js': keyturnJs(url), 'server.js': server },
      [process.execPath, 'server.js'],
      port
    )
  }
  await takesOnlyTheValid(t, await start(ours))
  await saysThatItCannotKnow(t, await start(nowhere))
})

t.test('FastAPI, with PyJWT', { skip: withoutProgram('fastapi') }, async (t) => {
  const python = process.env.TEST_PYTHON || findEngines().fastapi || 'python3'
  const start = async (url: string): Promise<Ask> => {
    const port = await freePort()
    const command = [python, '-m', 'uvicorn', 'main:app', '--port', `${port}`]
    return await startFiles(
      t,
      { 'main.py': fillIn(readBlock('fastapi.md', 'main.py'), { [jwks]: url }) },
      command,
      port
    )
  }
  await takesOnlyTheValid(t, await start(ours))
  await saysThatItCannotKnow(t, await start(nowhere))
})

t.test('Django, with Simple JWT', { skip: withoutDjango() }, async (t) => {
  const python = process.env.TEST_PYTHON || findEngines().django || 'python3'
  const recipe = fileURLToPath(new URL('../../../test/fixtures/django/recipe.py', import.meta.url))
  const start = async (url: string): Promise<Ask> => {
    const settings = fillIn(readBlock('django.md', 'settings.py'), { [jwks]: url })
    const enclosure = await aFolder(t, { 'settings.py': settings, 'views.py': readBlock('django.md', 'views.py') })
    const port = (): string | undefined => /^listens on (\d+)$/m.exec(enclosure.log())?.[1]
    await untilReady(enclosure.spawn(python, [recipe]), enclosure, () => port() !== undefined)
    return askAt(`127.0.0.1:${port()}`)
  }
  await takesOnlyTheValid(t, await start(ours))
  const unknowing = await start(nowhere)
  t.equal((await unknowing(tokens.access)).status, 401, 'it cannot know, and as the page says it does not say so')
})

t.test('Spring: Keyturn serves what its settings lead to', async (t) => {
  const jwtOf = (file: string) => parse(readBlock('spring.md', file)).spring.security.oauth2.resourceserver.jwt
  const answer = await fetch(`${keyturn.url}/.well-known/openid-configuration`)
  const metadata = (await answer.json()) as Record<string, unknown>
  const byJwks = jwtOf('application-jwks.yaml')
  t.equal(jwtOf('application.yaml')['issuer-uri'], metadata.issuer)
  t.equal(byJwks['issuer-uri'], metadata.issuer)
  t.equal(byJwks['jwk-set-uri'], metadata.jwks_uri)
  t.same([byJwks['jws-algorithms']], metadata.id_token_signing_alg_values_supported)
})
