/* The package as npm packs it: what a hooks module in TypeScript needs of it. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../../', import.meta.url))

const hooks = `import type { HooksModule } from 'keyturn'

export const claims: HooksModule['claims'] = (user, { grant }) => ({ name: user.username, grant })
export const userAuthenticationRule: HooksModule['userAuthenticationRule'] = (user) => user.claims.team !== 'suspended'
export const onRefreshVerdict: HooksModule['onRefreshVerdict'] = (user, { verdict, loginIp, ip }) =>
  verdict === 'reused' && loginIp !== ip ? user.id : undefined
`

t.test("package: a hooks module in TypeScript takes its type from 'keyturn'", async (t) => {
  // Outside this checkout, where 'keyturn' would be the checkout itself.
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-package-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  // Not built again by "prepare": other tests run on this build.
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: root
  })
  const [{ filename, files }] = JSON.parse(stdout)
  const paths = files.map(({ path }: { path: string }) => path)
  t.same(
    paths.filter((path: string) => path.endsWith('.d.ts')),
    ['dist/src/hooks.d.ts'],
    'the only declarations'
  )
  t.ok(paths.includes('dist/src/i18n/de.json'), 'the translations are packed')
  for (const file of ['routes/console/index.html', 'routes/console/style.css', 'dist/routes/console/main.js'])
    t.ok(paths.includes(file), `${file} is packed`)
  const home = join(folder, 'node_modules/keyturn')
  mkdirSync(home, { recursive: true })
  await run('tar', ['-xzf', join(folder, filename), '-C', home, '--strip-components=1'])

  const compile = async (text: string): Promise<string> => {
    writeFileSync(join(folder, 'hooks.mts'), text)
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--types', '', '--ignoreConfig']
    const tsc = join(root, 'node_modules/typescript/lib/tsc.js')
    const done = run(process.execPath, [tsc, ...options, 'hooks.mts'], { cwd: folder })
    return await done.then(
      () => 'compiles',
      (error: { stdout: string }) => error.stdout
    )
  }
  t.equal(await compile(hooks), 'compiles')
  t.match(await compile(hooks.replace('user.username', 'user.passwordHash')), /'passwordHash' does not exist/)
  t.match(await compile(hooks.replaceAll('onRefreshVerdict', 'onRefreshVerdikt')), /'onRefreshVerdikt' does not exist/)
})
