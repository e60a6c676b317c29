/* docs/recipes/caddy.md, on a real Caddy. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findEngines } from '../support/engines.ts'
import { withoutProgram } from '../support/needs.ts'
import { fillIn, readBlock } from '../support/recipes.ts'
import {
  failsClosed,
  passesOnlyTheValid,
  passesPreflights,
  type RunningProxy,
  seesRevocation,
  startProxy
} from './proxies.ts'

const block = (file: string): string => readBlock('caddy.md', file)

/** Caddy without its admin endpoint, with certificates and storage elsewhere. */
const options = (directory: string): string => `{
	admin off
	auto_https off
	storage file_system ${directory}
}
`

const startCaddy = (t: Test, caddyfile: string): Promise<RunningProxy> =>
  startProxy(t, 'caddy', ({ keyturn, service, address, enclosure: { directory } }) => {
    const places = {
      '127.0.0.1:8000': new URL(keyturn.url).host,
      '127.0.0.1:3000': service.address,
      'app.example {': `http://${address} {`
    }
    writeFileSync(join(directory, 'Caddyfile'), options(directory) + fillIn(caddyfile, places))
    const program = process.env.TEST_CADDY || findEngines().caddy || 'caddy'
    return [program, 'run', '--config', 'Caddyfile', '--adapter', 'caddyfile']
  })

t.test('forward_auth', { skip: withoutProgram('caddy') }, async (t) => {
  const proxy = await startCaddy(t, block('Caddyfile'))
  await passesOnlyTheValid(t, proxy, { username: true })
  await seesRevocation(t, proxy)
  t.equal((await proxy.ask(undefined, { method: 'OPTIONS' })).status, 401)
  await failsClosed(t, proxy)
})

t.test('forward_auth, with preflights', { skip: withoutProgram('caddy') }, async (t) => {
  const asked = '\t\tforward_auth'
  await passesPreflights(t, await startCaddy(t, fillIn(block('Caddyfile'), { [asked]: block('for CORS') + asked })))
})
