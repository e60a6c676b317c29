/* A TypeScript client that is generated from the document of a running Keyturn, compiled, and used. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { aDataDir, runKeyturn, startKeyturn } from '../support/keyturn.ts'

const modules = fileURLToPath(new URL('../../../node_modules', import.meta.url))
const password = 'correct-horse-battery'

/** What somebody writes who has only the document. `satisfies` and the unions make the compiler look at every type. */
const program = `
import * as keyturn from './client.js'

const [baseUrl = '', username = '', password = ''] = process.argv.slice(2)
keyturn.defaults.baseUrl = baseUrl

const login = await keyturn.tokenObtainPair({ username, password })
if (login.status !== 200) throw new Error(JSON.stringify(login.data))
const next = await keyturn.tokenRefresh({ refresh: login.data.refresh satisfies string })
if (next.status !== 200) throw new Error(JSON.stringify(next.data))
const { access, refresh } = next.data
const good = await keyturn.tokenVerify({ token: access })
const bad = await keyturn.tokenVerify({ token: access.slice(0, -4) + 'AAAA' })
const headers = { authorization: 'Bearer ' + access }
const list = await keyturn.sessionList({}, { headers })
const wrong = await keyturn.tokenObtainPair({ username, password: 'wrong' })
const empty = await keyturn.tokenObtainPair({ username: '', password: '' })
const batch = await keyturn.tokenVerifyBatch({ tokens: [access, 'no token'] })
const over = await keyturn.tokenBlacklist({ refresh: refresh ?? '' })
let after = await keyturn.tokenVerify({ token: access })
// A worker hears of it a few milliseconds later.
for (let tries = 0; after.status === 200 && tries < 3000; tries++) {
  await new Promise((resolve) => setTimeout(resolve, 10))
  after = await keyturn.tokenVerify({ token: access })
}
console.log(
  JSON.stringify({
    rotated: refresh !== login.data.refresh,
    good: good.status satisfies number,
    bad: bad.status === 401 ? (bad.data.code satisfies string | undefined) : bad,
    sessions: list.status === 200 ? list.data.sessions.map(({ current }): boolean => current) : list,
    wrong: wrong.status === 401 ? (wrong.data.detail satisfies string) : wrong,
    empty: empty.status === 400 ? empty.data['username'] : empty,
    batch: batch.status === 200 ? batch.data.results.map(({ active }): boolean => active) : batch,
    over: over.status,
    after: after.status
  })
)
`

const compilerOptions = {
  module: 'nodenext',
  target: 'es2023',
  lib: ['es2023', 'dom', 'dom.iterable'],
  types: ['node'],
  strict: true,
  skipLibCheck: true,
  rootDir: 'src',
  outDir: 'out'
}

t.test('a generated client logs in, refreshes, verifies, and knows the refusals', async (t) => {
  const settings = { DATA_DIR: aDataDir(t) }
  await runKeyturn(['users', 'create', 'vitor'], settings, `${password}\n`)
  const { url } = await startKeyturn(t, settings)

  const folder = mkdtempSync(join(tmpdir(), 'keyturn-client-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'src'))
  symlinkSync(modules, join(folder, 'node_modules'))
  writeFileSync(join(folder, 'openapi.json'), await (await fetch(`${url}/openapi.json`)).text())
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['src'] }))
  writeFileSync(join(folder, 'src', 'program.ts'), program)

  const run = (...args: readonly string[]) => spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
  const compile = () => run(join(modules, 'typescript', 'lib', 'tsc.js'), '-p', '.')
  t.match(run(join(modules, 'oazapfts', 'dist', 'cli.js'), 'openapi.json', 'src/client.ts'), { status: 0, stderr: '' })
  t.match(compile(), { status: 0, stdout: '' })
  const { stdout, stderr } = run(join('out', 'program.js'), url, 'vitor', password)
  t.equal(stderr, '')
  t.same(JSON.parse(stdout), {
    rotated: true,
    good: 200,
    bad: 'token_not_valid',
    sessions: [true],
    wrong: 'No active account found with the given credentials',
    empty: ['This field may not be blank.'],
    batch: [true, false],
    over: 200,
    after: 401
  })

  writeFileSync(
    join(folder, 'src', 'wrong.ts'),
    "import { tokenVerify } from './client.js'\nvoid tokenVerify({ tokn: '' })\n"
  )
  t.match(compile(), { status: 2, stdout: /'tokn' does not exist in type/ }, 'a wrong use would not compile')
})
