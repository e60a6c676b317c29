import type { ClaimsFunction, HooksModule } from '../hooks.ts'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/settings.ts'

/** The names of the hooks; the compiler sees that none is missing. */
const hookNames = Object.keys({
  claims: true,
  userAuthenticationRule: true,
  onLoginSuccess: true,
  onLoginFailed: true,
  onRefreshVerdict: true,
  onPasswordResetRequested: true
} satisfies Record<keyof HooksModule, true>)

/** What Node adds to the exports of a CommonJS module. */
const addedByNode = ['default', 'module.exports', '__esModule']

type Exports = Readonly<Record<string, unknown>>

/**
 * Loads HOOKS_MODULE and CLAIMS_MODULE, whose default export is the hook `claims`: paths from the working directory. Throws
 * ConfigError if one cannot be loaded or has the wrong form.
 */
export async function loadHooksModule({
  hooksModule,
  claimsModule
}: Pick<Config, 'hooksModule' | 'claimsModule'>): Promise<HooksModule> {
  const hooks = hooksModule === undefined ? {} : await loadHooks(hooksModule)
  const claims = claimsModule === undefined ? hooks.claims : await loadClaims(claimsModule)
  if (hooks.claims !== undefined && hooks.claims !== claims)
    throw new ConfigError([
      'CLAIMS_MODULE: set beside a HOOKS_MODULE that exports claims, expected only one of the two.'
    ])
  return claims === undefined ? hooks : { ...hooks, claims }
}

async function loadHooks(path: string): Promise<HooksModule> {
  const exports = await load('HOOKS_MODULE', path)
  const names = Object.keys(exports).filter((name) => !addedByNode.includes(name))
  // A misspelt rule would allow every user.
  const unknown = names.find((name) => !hookNames.includes(name) || typeof exports[name] !== 'function')
  if (unknown !== undefined || names.length === 0) {
    const found = unknown === undefined ? 'which exports nothing' : `whose export ${unknown} is not a hook`
    throw misfit('HOOKS_MODULE', path, `${found}, expected functions named ${hookNames.join(', ')}`)
  }
  return exports as HooksModule
}

async function loadClaims(path: string): Promise<ClaimsFunction> {
  const exports = await load('CLAIMS_MODULE', path)
  if (typeof exports.default === 'function') return exports.default as ClaimsFunction
  throw misfit('CLAIMS_MODULE', path, 'expected a module whose default export is a function')
}

async function load(variable: string, path: string): Promise<Exports> {
  try {
    return { ...(await import(pathToFileURL(resolve(path)).href)) }
  } catch (error) {
    const [line = ''] = String((error as Partial<Error> | undefined)?.message ?? error).split('\n')
    throw misfit(variable, path, `which cannot be loaded: ${line}`)
  }
}

const misfit = (variable: string, path: string, reason: string): ConfigError =>
  new ConfigError([`${variable}: got ${JSON.stringify(path)}, ${reason}.`])
