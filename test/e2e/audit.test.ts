/* The audit trail as an operator meets it: what the commands and the service write, and what is found when it was changed. */
import { writeFileSync } from 'node:fs'
import { hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openEmbedded } from '../../src/stores/embedded/engine.ts'
import { openApp } from '../support/app.ts'
import { aDataDir, runKeyturn } from '../support/keyturn.ts'

const password = 'correct horse'

/** Runs commands on embedded data of their own. */
function onData(t: Test) {
  const dataDir = aDataDir(t)
  const run = (args: readonly string[], input = '') => runKeyturn(args, { DATA_DIR: dataDir }, input)
  return {
    dataDir,
    run,
    async trail() {
      const { stdout } = await run(['audit', 'tail', '--json'])
      return stdout
        .trim()
        .split('\n')
        .map((line): Record<string, unknown> => JSON.parse(line))
    }
  }
}

t.test('what administrators do', async (t) => {
  const { run, trail } = onData(t)
  t.match(await run(['audit', 'verify']), { code: 0, stdout: '', stderr: 'The audit trail is empty.\n' })
  const ann = (await run(['users', 'create', 'ann'], password)).stdout.trim()
  await run(['users', 'set-password', 'ann'], 'staple under the bridge')
  await run(['users', 'set-claims', 'ann'], '{"team":"blue"}')
  await run(['users', 'deactivate', 'ann'])
  await run(['users', 'activate', 'ann'])
  await run(['users', 'export'])
  await run(['clients', 'create', 'orders'])
  await run(['clients', 'rotate-secret', 'orders'])
  await run(['clients', 'delete', 'orders', '--yes'])
  const kid = (await run(['keys', 'rotate'])).stdout.trim()
  await run(['keys', 'export', kid])
  await run(['keys', 'export', kid, '--private'])
  await run(['keys', 'retire', kid])
  await run(['keys', 'reseal'])
  await run(['users', 'delete', 'ann', '--yes'])
  const refused = await run(['users', 'deactivate', 'unknown'])
  t.equal(refused.code, 1)

  const entries = await trail()
  t.same(
    entries.map(({ event, user_id, object }) => [event, user_id ?? object]),
    [
      ['user_create', ann],
      ['user_password', ann],
      ['user_claims', ann],
      ['user_deactivate', ann],
      ['user_activate', ann],
      ['users_export', null],
      ['client_create', 'orders'],
      ['client_secret', 'orders'],
      ['client_delete', 'orders'],
      ['key_publish', kid],
      ['key_export', kid],
      ['key_retire', kid],
      ['keys_reseal', null],
      ['user_deactivate', ann],
      ['user_delete', ann]
    ],
    'what was refused, and what only shows something public, is not in it'
  )
  for (const { actor, at, ip } of entries) {
    t.equal(actor, `${userInfo().username}@${hostname()}`)
    t.match(at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    t.equal(ip, null)
  }
  t.match((await run(['audit', 'tail', '-n', '1'])).stdout, /^ {4}15 {2}.*user_delete {6}ok .*user=.* by=/)
})

t.test('who can write to the table cannot hide it', async (t) => {
  const { dataDir, run } = onData(t)
  for (const name of ['ann', 'ben', 'eve']) await run(['users', 'create', name], password)
  const good = await run(['audit', 'verify'])
  t.match(good, { code: 0, stderr: '3 entries verified. Link of the newest:\n' })
  t.match(good.stdout, /^3:[\w-]{43}\n$/)
  const link = good.stdout.trim()
  t.match(await run(['audit', 'verify', '--link', link]), { code: 0 })
  t.match(await run(['audit', 'verify', '--link', 'x']), { code: 2 })

  const db = openEmbedded(dataDir)
  const [third] = await db.query('SELECT * FROM keyturn_audit WHERE seq = 3')
  await db.query("UPDATE keyturn_audit SET actor = 'mallory@home' WHERE seq = 2")
  t.match(await run(['audit', 'verify']), { code: 1, stderr: /^Entry 2 is not what was written/, stdout: '' })
  await db.query('DELETE FROM keyturn_audit WHERE seq = 2')
  t.match(await run(['audit', 'verify']), { code: 1, stderr: /^Entry 2 is missing\./ })
  await db.query('DELETE FROM keyturn_audit WHERE seq > 1')
  t.ok(third)
  t.match(await run(['audit', 'verify']), { code: 0 }, 'that the newest were cut off is seen by who noted a link')
  t.match(await run(['audit', 'verify', '--link', link]), {
    code: 1,
    stderr: /^Entry 3 is missing or has changed since its link was printed\./
  })
  await run(['users', 'create', 'fay'], password)
  t.match(await run(['audit', 'verify']), { code: 0 })
  await db.close()
})

t.test('a copy of the trail is verified as the table is', async (t) => {
  const { dataDir, run } = onData(t)
  for (const name of ['ann', 'ben', 'eve']) await run(['users', 'create', name], password)
  const { stdout } = await run(['audit', 'tail', '--json'])
  const file = join(dataDir, 'copy.jsonl')
  const verify = (lines: readonly string[]) => {
    writeFileSync(file, lines.map((line) => `${line}\n`).join(''))
    return run(['audit', 'verify', '--from', file])
  }
  const [first = '', second = '', third = ''] = stdout.trim().split('\n')
  const copied = await verify([first, second, third])
  t.match(copied, { code: 0, stderr: /^3 entries verified/ })
  t.equal(copied.stdout, (await run(['audit', 'verify'])).stdout, 'with the link of the table')
  t.match(await verify([first, third]), { code: 1, stderr: /^Entry 2 is missing\./ })
  t.match(await verify([first, second.replace('user_create', 'user_delete'), third]), {
    code: 1,
    stderr: /^Entry 2 is not/
  })
  t.match(await verify([first, 'a line']), { code: 1, stderr: /line 2 is not an entry/ })
  t.match(await run(['audit', 'verify', '--from', `${file}.none`]), { code: 1, stderr: /ENOENT/ })
})

t.test('a checkpoint reveals that the end of the trail was cut off', async (t) => {
  const { dataDir, run } = onData(t)
  for (const name of ['ann', 'ben', 'eve']) await run(['users', 'create', name], password)
  const file = join(dataDir, 'checkpoint')
  const { stdout: checkpoint } = await run(['audit', 'checkpoint'])
  const verify = (text: string) => {
    writeFileSync(file, text)
    return run(['audit', 'verify', '--checkpoint', file])
  }
  t.match(JSON.parse(checkpoint), { seq: 3, hash: /^[\w-]{43}$/, at: Number, signature: /^[\w-]{43}$/ })
  t.match(await verify(checkpoint), { code: 0 })
  const db = openEmbedded(dataDir)
  await db.query('DELETE FROM keyturn_audit WHERE seq > 1')
  await db.close()
  t.match(await run(['audit', 'verify']), { code: 0 }, 'the rest is a whole chain')
  t.match(await verify(checkpoint), { code: 1, stderr: /^Entry 3 is missing/ })
  t.match(await verify(checkpoint.replace('"seq":3', '"seq":1')), { code: 1, stderr: /the checkpoint was changed/ })
  t.match(await verify('{}'), { code: 1, stderr: /expected the output of keyturn audit checkpoint/ })
})

t.test('keys that rotate by themselves are in it too', async (t) => {
  const { app, clock } = await openApp(t, { KEY_ROTATION_INTERVAL: '1d' })
  clock.advance(86_400)
  await app.keyring.update()
  clock.advance(86_400)
  await app.keyring.update()
  await app.auditTrail.settled()
  const entries = await app.stores.audit.list(0, 10)
  t.match(entries, [
    { event: 'key_publish', actor: 'keyturn', object: /^[\w-]{8}$/ },
    { event: 'key_activate', actor: 'keyturn', object: String(entries[0]?.object) }
  ])
})

t.test('commands show names and user agents without acting on them', async (t) => {
  const { dataDir, run } = onData(t)
  const hostile = '\u001b[2J\u009b31m\u202eevil\u2066\nforged line\u007f'
  const service = await openApp(t, { DATA_DIR: dataDir })
  // The commands go by the real time.
  service.clock.advance(Math.floor(Date.now() / 1000) - service.clock())
  await service.addUser(`ann${hostile}`, password)
  await service.addUser('ann', password)
  const login = { username: 'ann', password }
  const headers = { 'user-agent': 'browser \u009b31m' }
  t.equal((await service.post('/api/token/', login, headers)).statusCode, 200)
  await service.app.auditTrail.settled()
  await service.app.close()
  const name = 'ann\u001b[2J\u009b31m'
  for (const args of [
    ['users', 'list'],
    ['users', 'list', '--json'],
    ['sessions', 'list', 'ann'],
    ['sessions', 'list', 'ann', '--json'],
    ['audit', 'tail'],
    ['users', 'deactivate', name],
    [name]
  ]) {
    const { stdout, stderr } = await run(args)
    const wanted = { audit: 'login', sessions: 'browser' }[args[0] ?? ''] ?? '\\u009b31m'
    t.match(stdout + stderr, wanted, 'it shows what was sent')
    t.notMatch(stdout + stderr, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/, args.join(' '))
    t.notMatch(stdout + stderr, /^forged/m, args.join(' '))
  }
})
