/* `keyturn clients`, beside a service that runs. */
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { randomSecret } from '../../src/random.ts'
import { basic } from '../support/client.ts'
import { aDataDir, type Finished, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { needsPostgres, withoutPostgres } from '../support/needs.ts'

type Environment = Record<string, string>

const isRefused = (t: Test, run: Finished, why: RegExp, code = 1): void => {
  t.equal(run.code, code, run.stderr)
  t.match(run.stderr, why)
  t.notMatch(run.stderr, /\n\s+at /, 'no stack')
  t.equal(run.stdout, '')
}

async function commands(t: Test, env: Environment): Promise<void> {
  const clients = (args: readonly string[], input = '') => runKeyturn(['clients', ...args], env, input)
  const list = async (): Promise<readonly Record<string, unknown>[]> =>
    (await clients(['list', '--json'])).stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))

  const created = await clients(['create', 'gateway', '--scopes', 'orders.read orders.write'])
  t.match(created, { code: 0, stdout: /^[\w-]{43}\n$/, stderr: /Created the client "gateway".*\nIts secret, / })
  isRefused(t, await clients(['create', 'gateway']), /"gateway" already exists/)
  const json = await clients(['create', 'billing', '--json'])
  t.match(JSON.parse(json.stdout), { client_id: 'billing', client_secret: /^[\w-]{43}$/, scope: '' })

  const secret = randomSecret()
  const given = await clients(['create', 'given', '--secret-stdin', '--json'], `${secret}\n`)
  t.same(JSON.parse(given.stdout), { client_id: 'given', scope: '' }, 'what was given is not shown')
  t.match(await clients(['rotate-secret', 'given', '--secret-stdin'], secret), { code: 0, stdout: '' })
  isRefused(t, await clients(['create', 'weak', '--secret-stdin'], 'hunter2\n'), /easily guessed/)
  t.match(await list(), [
    { client_id: 'billing', scope: '' },
    {
      client_id: 'gateway',
      scope: 'orders.read orders.write',
      created_at: /^20\d\d-.*Z$/,
      secret_created_at: /^20\d\d-.*Z$/
    },
    { client_id: 'given' }
  ])
  t.match(
    (await clients(['list'])).stdout,
    /^client +created +secret of +scopes\nbilling .*\ngateway .* orders\.write\n/
  )

  isRefused(t, await clients(['delete', 'given']), /confirm with --yes/)
  t.match(await clients(['delete', 'given', '--yes']), { code: 0, stderr: /Deleted the client "given"/ })
  for (const args of [
    ['delete', 'given', '--yes'],
    ['rotate-secret', 'given']
  ])
    isRefused(t, await clients(args), /The client "given" does not exist/)
  t.equal((await list()).length, 2)
}

t.test('on the embedded store', async (t) => {
  const env = { DATA_DIR: aDataDir(t) }
  await commands(t, env)
  const wrong: readonly (readonly string[])[] = [
    ['clients'],
    ['clients', 'create'],
    ['clients', 'create', 'Gateway'],
    ['clients', 'create', 'keyturn'],
    ['clients', 'create', 'ebf959a3-3e4f-42e5-9727-31a79e5c329f'],
    ['clients', 'create', 'a', '--scopes', 'a"b'],
    ['clients', 'create', 'a', 'a secret that is an argument'],
    ['clients', 'rotate-secret', 'gateway', '--overlap', '31d']
  ]
  for (const args of wrong) t.equal((await runKeyturn(args, env)).code, 2, args.join(' '))
})

t.test('on PostgreSQL', { skip: withoutPostgres() }, async (t) => {
  const server = await needsPostgres(t)
  const env = { DATABASE_URL: await server.createDatabase(), KEY_ENCRYPTION_SECRET: 'x'.repeat(32) }
  isRefused(t, await runKeyturn(['clients', 'list'], env), /Run: keyturn migrate/)
  t.equal((await runKeyturn(['migrate'], env)).code, 0)
  await commands(t, env)
})

t.test('a service that runs follows', async (t) => {
  const env = { DATA_DIR: aDataDir(t) }
  const { url, stop } = await startKeyturn(t, env)
  const clients = async (...args: string[]) => (await runKeyturn(['clients', ...args], env)).stdout.trim()
  const ask = async (secret: string): Promise<number> => {
    const answer = await fetch(`${url}/oauth/introspect`, {
      method: 'POST',
      headers: { authorization: basic('gateway', secret) },
      body: new URLSearchParams({ token: 'x' })
    })
    await answer.body?.cancel()
    return answer.status
  }
  /** Asked seldom enough not to be throttled. */
  const comesTo = async (secret: string, status: number): Promise<boolean> => {
    for (let tries = 0; tries < 9; tries++) {
      if ((await ask(secret)) === status) return true
      await delay(1500)
    }
    return false
  }
  const first = await clients('create', 'gateway')
  t.ok(await comesTo(first, 200), 'created')
  const second = await clients('rotate-secret', 'gateway', '--overlap', '1h')
  t.ok(await comesTo(second, 200), 'rotated')
  t.equal(await ask(first), 200, 'and the old secret is good for an hour')
  await clients('rotate-secret', 'gateway')
  t.ok(await comesTo(second, 401), 'rotated at once')
  t.equal(await stop(), 0)
})
