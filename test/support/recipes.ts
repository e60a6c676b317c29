/** What docs/recipes prints is what tests run: the blocks of a page, and what stands before and behind them. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { decodePart, encode, joinSigned, type KeyPair, makeKeyPair, readKeyPair } from './forger.ts'
import { aDataDir, post, type RunningKeyturn, runKeyturn, startKeyturn } from './keyturn.ts'

const root = new URL('../../../', import.meta.url)

/** The code block of docs/recipes/`page` whose first line, a comment, names this file. */
export const readBlock = (page: string, file: string): string =>
  readBlocks(fileURLToPath(new URL(`docs/recipes/${page}`, root)))(file)

/** The code blocks of a page, each by the file that its first line, a comment, names. */
export function readBlocks(path: string): (file: string) => string {
  const text = readFileSync(path, 'utf8')
  const blocks = [...text.matchAll(/^```\w+\n(.+\n[\s\S]*?)^```$/gm)].map(([, block = '']) => block)
  return (file) => {
    const found = blocks.filter((block) => block.split('\n', 1)[0]?.endsWith(file))
    if (found.length !== 1) throw new Error(`${path} has ${found.length} blocks of ${file}, expected one`)
    return found[0] as string
  }
}

/** The block with each text on the left replaced, wherever it stands. Throws where one is not there at all. */
export function fillIn(block: string, values: Readonly<Record<string, string>>): string {
  let filled = block
  for (const [from, to] of Object.entries(values)) {
    if (!filled.includes(from)) throw new Error(`the recipe has no ${from} to fill in:\n${block}`)
    filled = filled.replaceAll(from, to)
  }
  return filled
}

export interface Login {
  readonly userId: string
  readonly access: string
  readonly refresh: string
}

/** The tokens that a recipe must tell apart. */
export interface Tokens extends Login {
  readonly expired: string
  readonly tampered: string
  readonly foreign: string
}

/** A Keyturn whose signing key is known here, so that a token can be one that has expired, without waiting for it. */
export interface KnownKeyturn extends RunningKeyturn {
  readonly key: KeyPair
  logIn(): Promise<Tokens>
  logOut(login: Pick<Login, 'refresh'>): Promise<void>
  /** The access token as it is a minute after its end. */
  expire(access: string): string
  /** How many log lines of this event it has written. */
  count(event: string): number
}

/** With a key of its own, or with managed keys as by default. It ends with `t`. */
export async function startKnownKeyturn(
  t: Test,
  settings: Record<string, string> = {},
  keys: 'own' | 'managed' = 'own'
): Promise<KnownKeyturn> {
  const own = makeKeyPair('ES256')
  const env = {
    DATA_DIR: aDataDir(t),
    ...(keys === 'own' ? { ALGORITHM: 'ES256', SIGNING_KEY: own.text } : {}),
    ...settings
  }
  const made = await runKeyturn(['users', 'create', 'vitor'], env, 'correct horse')
  if (made.code !== 0) throw new Error(made.stderr)
  const keyturn = await startKeyturn(t, env)
  const key = keys === 'own' ? own : await exportKey(env)
  return {
    ...keyturn,
    key,
    async logIn() {
      const { body } = await post(`${keyturn.url}/api/token/`, { username: 'vitor', password: 'correct horse' })
      return variantsOf({ access: body.access ?? '', refresh: body.refresh ?? '' }, key)
    },
    async logOut({ refresh }) {
      const { status } = await post(`${keyturn.url}/api/token/blacklist/`, { refresh })
      if (status !== 200) throw new Error(`the logout was answered ${status}`)
    },
    expire: (access) => expireBy(access, key),
    count: (event) => keyturn.output().stdout.split(`"event":"${event}"`).length - 1
  }
}

/** The managed key that signs. */
async function exportKey(env: Record<string, string>): Promise<KeyPair> {
  const listed = await runKeyturn(['keys', 'list', '--json'], env)
  const { kid } = JSON.parse(listed.stdout.split('\n', 1)[0] ?? '')
  return readKeyPair((await runKeyturn(['keys', 'export', kid, '--private'], env)).stdout)
}

/** A login's tokens and invalid ones, which differ from the access token in one thing each. */
function variantsOf(login: Omit<Login, 'userId'>, key: KeyPair): Tokens {
  const [header = '', payload = '', signature = ''] = login.access.split('.')
  const claims = decodePart(login.access, 1)
  return {
    ...login,
    userId: String(claims.user_id),
    expired: expireBy(login.access, key),
    tampered: [header, encode({ ...claims, user_id: '1' }), signature].join('.'),
    foreign: joinSigned('ES256', makeKeyPair('ES256').privateKey, header, payload)
  }
}

function expireBy(access: string, { privateKey }: KeyPair): string {
  const exp = Math.floor(Date.now() / 1000) - 60
  const claims = { ...decodePart(access, 1), iat: exp - 300, exp }
  return joinSigned('ES256', privateKey, access.split('.', 1)[0] ?? '', encode(claims))
}

export interface Service {
  readonly url: string
  /** HOST:PORT */
  readonly address: string
  /** How many requests have reached it. */
  count(): number
}

/** What a request looked like when it came to the service, which is what it answers. */
export interface Arrived {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** The service behind a proxy. It ends with `t`. */
export async function startService(t: Pick<Test, 'teardown'>): Promise<Service> {
  let count = 0
  const server = createServer(async (request, response) => {
    count++
    let body = ''
    for await (const part of request.setEncoding('utf8')) body += part
    const { method = '', url = '', headers } = request
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ method, url, headers, body } satisfies Arrived))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url: `http://${address}`, address, count: () => count }
}
