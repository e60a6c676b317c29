/* docs/recipes/haproxy.md, on a real HAProxy. */
import { execFileSync } from 'node:child_process'
import { createSecretKey } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findEngines } from '../support/engines.ts'
import { decodePart, encode, joinSigned, readKeyPair } from '../support/forger.ts'
import { aDataDir } from '../support/keyturn.ts'
import { withoutProgram } from '../support/needs.ts'
import { fillIn, readBlock } from '../support/recipes.ts'
import {
  failsClosed,
  passesOnlyTheValid,
  type RunningProxy,
  seesRevocation,
  startProxy,
  type World
} from './proxies.ts'

const block = (file: string): string => readBlock('haproxy.md', file)

/** HAProxy under one of the configurations; beside it is the one file that it reads, with what `put` makes. */
const startHaproxy = (t: Test, config: string, file: string, put: (world: World) => string): Promise<RunningProxy> =>
  startProxy(t, 'haproxy', (world) => {
    const { service, address, enclosure } = world
    const path = (name: string): string => join(enclosure.directory, name)
    const places = {
      'bind :80': `bind ${address}`,
      '127.0.0.1:3000': service.address,
      [`/etc/haproxy/${file}`]: path(file)
    }
    writeFileSync(path('haproxy.cfg'), fillIn(block(config), places))
    writeFileSync(path(file), put(world))
    const program = process.env.TEST_HAPROXY || findEngines().haproxy || 'haproxy'
    return [program, '-db', '-f', 'haproxy.cfg']
  })

t.test('by the public key', { skip: withoutProgram('haproxy') }, async (t) => {
  const put = ({ keyturn }: World) => keyturn.key.publicKey?.export({ type: 'spki', format: 'pem' }) as string
  const proxy = await startHaproxy(t, '/haproxy.cfg', 'keyturn.pem', put)
  await passesOnlyTheValid(t, proxy, { username: false })

  const { ask, keyturn } = proxy
  const login = await keyturn.logIn()
  const { exp, user_id, ...others } = decodePart(login.access, 1)
  const sign = (claims: object): string =>
    joinSigned('ES256', keyturn.key.privateKey, encode({ alg: 'ES256' }), encode(claims))
  const statusOf = async (token: string): Promise<number> => (await ask(token)).status
  t.equal(await statusOf(sign({ exp, user_id, ...others })), 200)
  t.equal(await statusOf(sign({ user_id, ...others })), 401, 'without exp')
  t.equal(await statusOf(sign({ exp: Math.floor(Date.now() / 1000), user_id, ...others })), 401, 'of this second')
  t.equal(await statusOf(sign({ exp, user_id, ...others, token_type: 'refresh' })), 401, 'not for access')
  t.equal(await statusOf(sign({ exp, client_id: 'billing', ...others })), 401, "a service's own")
  t.equal(await statusOf(`${encode({ alg: 'none' })}.${encode({ exp, user_id, ...others })}.`), 401, 'unsigned')
  const pem = createSecretKey(readFileSync(join(proxy.enclosure.directory, 'keyturn.pem')))
  const confused = joinSigned('HS256', pem, encode({ alg: 'HS256' }), encode({ exp, user_id, ...others }))
  t.equal(await statusOf(confused), 401, 'the public key for a secret')

  await keyturn.logOut(login)
  t.equal(await statusOf(login.access), 200, 'revoked: as the page says it passes until it expires')
  await keyturn.stop()
  t.equal(await statusOf(login.access), 200, 'and Keyturn is not asked')
})

t.test('asking Keyturn', { skip: withoutProgram('haproxy') }, async (t) => {
  const put = ({ keyturn }: World) => fillIn(block('keyturn.lua'), { '127.0.0.1:8000': new URL(keyturn.url).host })
  const proxy = await startHaproxy(t, 'haproxy-asking.cfg', 'keyturn.lua', put)
  await passesOnlyTheValid(t, proxy, { username: true })
  await seesRevocation(t, proxy)
  await failsClosed(t, proxy)
})

t.test('the key is made as the page says', async (t) => {
  const folder = aDataDir(t)
  execFileSync('sh', ['-ec', block('make-key.sh')], { cwd: folder, stdio: 'pipe' })
  const { publicKey } = readKeyPair(readFileSync(join(folder, 'signing.pem'), 'utf8'))
  t.equal(readFileSync(join(folder, 'keyturn.pem'), 'utf8'), publicKey?.export({ type: 'spki', format: 'pem' }))
})
