/* The files that HOOKS_MODULE and CLAIMS_MODULE name: what is taken, and what fails the start. */
import type { HooksModule } from '../../../src/hooks.ts'
import { join, relative } from 'node:path'
import t, { type Test } from 'tap'
import { loadHooksModule } from '../../../src/flows/hooks-module.ts'
import { aDataDir, runKeyturn } from '../../support/keyturn.ts'
import { aModule } from '../../support/modules.ts'

interface Paths {
  readonly hooks?: string
  readonly claims?: string
}

const load = ({ hooks, claims }: Paths): Promise<HooksModule> =>
  loadHooksModule({ hooksModule: hooks, claimsModule: claims })

async function isRefused(t: Test, paths: Paths, fault: RegExp): Promise<void> {
  const error = await load(paths).then(
    () => undefined,
    (reason: Error) => reason
  )
  t.equal(error?.name, 'ConfigError', String(fault))
  t.match(error?.message, fault)
  t.match(error?.message, /^(HOOKS|CLAIMS)_MODULE: [^\n]+\.$/, 'one line')
}

t.test('each hook is an export of its own, as wanted', async (t) => {
  t.same(await load({}), {})
  const one = await load({ hooks: aModule(t, 'export const onLoginFailed = () => {}') })
  t.same(Object.keys(one), ['onLoginFailed'])
  const all = await load({
    hooks: aModule(
      t,
      `export function claims () { return { found: true } }
       export async function userAuthenticationRule () { return true }
       export const onLoginSuccess = () => {}, onLoginFailed = () => {}`
    )
  })
  t.same(Object.keys(all).toSorted(), ['claims', 'onLoginFailed', 'onLoginSuccess', 'userAuthenticationRule'])
  const common = await load({ hooks: aModule(t, 'exports.userAuthenticationRule = () => false', 'cjs') })
  t.type(common.userAuthenticationRule, 'function', 'CommonJS')
})

t.test('claims are the default export of CLAIMS_MODULE, too', async (t) => {
  const path = aModule(t, 'export default () => ({ found: true })')
  const user = { id: '1', username: 'x', isActive: true, claims: {} }
  const { claims } = await load({ claims: relative(process.cwd(), path) })
  t.same(claims?.(user, { grant: 'login', sid: undefined }), { found: true }, 'a path from the working directory')
  const rule = aModule(t, 'export const userAuthenticationRule = () => true')
  t.same(Object.keys(await load({ hooks: rule, claims: path })).toSorted(), ['claims', 'userAuthenticationRule'])
  await isRefused(
    t,
    { hooks: aModule(t, 'export const claims = () => ({})'), claims: path },
    /^CLAIMS_MODULE: set beside a HOOKS_MODULE that exports claims, expected only one of the two\.$/
  )
})

t.test(
  'check-config: a module that never finishes, or leaves a rejected promise, is one line and exit status 78',
  async (t) => {
    const bad: readonly (readonly [source: string, fault: RegExp])[] = [
      ['await new Promise(() => {})', /its top-level code did not finish within 10 seconds/],
      ["Promise.reject(new Error('the table is missing'))", /the table is missing/]
    ]
    for (const [source, fault] of bad) {
      const path = aModule(t, `${source}; export const userAuthenticationRule = () => true`)
      const { code, stderr } = await runKeyturn(['check-config'], { DATA_DIR: aDataDir(t), HOOKS_MODULE: path })
      t.equal(code, 78)
      t.match(stderr, fault)
      t.match(stderr, /^HOOKS_MODULE: [^\n]+\.\n$/, 'one line')
    }
  }
)

t.test('a module that cannot be taken fails the start with one line', async (t) => {
  const missing = join(aDataDir(t), 'missing.mjs')
  const unloadable: readonly (readonly [path: string, fault: RegExp])[] = [
    [missing, /which cannot be loaded: Cannot find module/],
    [aModule(t, 'export default ('), /which cannot be loaded: /],
    [aModule(t, 'throw new Error("first line\\nsecond line")'), /which cannot be loaded: first line/],
    [aModule(t, 'throw undefined'), /which cannot be loaded/],
    [aModule(t, 'import "no-such-package-anywhere"'), /which cannot be loaded: Cannot find package/]
  ]
  for (const [path, fault] of unloadable) {
    await isRefused(t, { claims: path }, fault)
    await isRefused(t, { hooks: path }, fault)
  }
  const noFunction = /^CLAIMS_MODULE: got ".*", expected a module whose default export is a function\.$/
  await isRefused(t, { claims: aModule(t, 'export const claims = () => ({})') }, noFunction)
  await isRefused(t, { claims: aModule(t, 'export default { name: "x" }') }, noFunction)

  const noHook = (name: string): RegExp =>
    new RegExp(`whose export ${name} is not a hook, expected functions named claims,`)
  await isRefused(t, { hooks: aModule(t, 'export const userAuthRule = () => false') }, noHook('userAuthRule'))
  await isRefused(t, { hooks: aModule(t, 'export const claims = { role: "x" }') }, noHook('claims'))
  for (const nothing of ['', 'export default () => ({})']) {
    await isRefused(t, { hooks: aModule(t, nothing) }, /^HOOKS_MODULE: got ".*", which exports nothing, expected /)
  }

  for (const variable of ['CLAIMS_MODULE', 'HOOKS_MODULE']) {
    const { code, stderr } = await runKeyturn(['serve'], { DATA_DIR: aDataDir(t), PORT: '0', [variable]: missing })
    t.equal(code, 78, 'a setting that names no usable file')
    t.match(stderr, new RegExp(`^${variable}: [^\\n]*\\n$`))
  }
})
