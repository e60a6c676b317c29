/* The script of docs/management.md that ships the audit trail to another host, beside a service that is reloaded and stopped. */
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { logIn, login, startArbiter, until } from '../support/arbiter.ts'
import { aDataDir, post, runKeyturn } from '../support/keyturn.ts'
import { fillIn, readBlocks } from '../support/recipes.ts'

const page = fileURLToPath(new URL('../../../docs/management.md', import.meta.url))
const lacks = ['bash', 'curl', 'jq', 'sed'].find((program) => spawnSync(program, ['--version']).error !== undefined)

t.setTimeout(900_000)

t.test(
  'what is shipped is the trail, through cuts and a reload',
  { skip: lacks === undefined ? false : `no ${lacks}` },
  async (t) => {
    const keyturn = await startArbiter(t)
    const created = await runKeyturn(
      ['clients', 'create', 'siem', '--scopes', 'keyturn.audit', '--json'],
      keyturn.settings
    )
    const folder = aDataDir(t)
    const script = join(folder, 'ship-audit.sh')
    const file = join(folder, 'audit.jsonl')
    writeFileSync(script, fillIn(readBlocks(page)('ship-audit.sh'), { 'http://127.0.0.1:8000': keyturn.url }))
    const env = { PATH: process.env.PATH, CLIENT_SECRET: JSON.parse(created.stdout).client_secret }
    const ship = () => {
      const child = spawn('bash', [script], {
        cwd: folder,
        env,
        stdio: ['ignore', 'ignore', 'inherit'],
        detached: true
      })
      const stop = () => {
        try {
          process.kill(-Number(child.pid), 'SIGKILL')
        } catch {} // it has ended
      }
      t.teardown(stop)
      return stop
    }
    const lines = (): readonly string[] => readFileSync(file, { encoding: 'utf8', flag: 'a+' }).split('\n').slice(0, -1)
    const events = () => lines().map((line): string => JSON.parse(line).event)
    const logins = (count: number) => until(() => events().filter((event) => event === 'login').length === count)
    const again = () => post(`${keyturn.url}/api/token/`, login)

    const stop = ship()
    await logIn(keyturn)
    await logins(1)
    keyturn.child.kill('SIGHUP')
    await keyturn.next('Keyturn reloaded', 0)
    await again()
    await logins(2)
    stop()
    await again()
    ship()
    await again()
    await logins(4)
    t.same(
      lines().map((line) => JSON.parse(line).seq),
      lines().map((_, index) => index + 1),
      'without a gap or a repetition'
    )
    const verified = await runKeyturn(['audit', 'verify', '--from', file], keyturn.settings)
    t.equal(verified.code, 0, verified.stderr)
    t.equal(await keyturn.stop(), 0, 'the stream does not hold up the stop')
  }
)
