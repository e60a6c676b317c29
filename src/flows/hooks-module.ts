import type { ClaimsFunction, HooksModule } from '../hooks.ts'
import { resolve } from 'node:path'
import { setImmediate } from 'node:timers/promises'
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
 * ConfigError if one cannot be loaded within ten seconds, leaves a rejected promise, or has the wrong form.
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

/** How long the import of a module may take, in milliseconds. */
const maxImportMs = 10_000

async function load(variable: string, path: string): Promise<Exports> {
  const loaded = new AbortController()
  try {
    return await Promise.race([importModule(path), failure(loaded.signal)])
  } catch (error) {
    const [line = ''] = String((error as Partial<Error> | undefined)?.message ?? error).split('\n')
    throw misfit(variable, path, `which cannot be loaded: ${line}`)
  } finally {
    loaded.abort()
  }
}

/**
 * Rejects after an unhandled rejection, for which Node.js would end the process with a stack trace, and after `maxImportMs`.
 * The timer also keeps the process alive while a top-level await of the module never settles. Active until `signal` is aborted.
 */
const failure = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const late = new Error(`its top-level code did not finish within ${maxImportMs / 1000} seconds`)
    const timer = setTimeout(() => reject(late), maxImportMs)
    process.once('unhandledRejection', reject)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      process.off('unhandledRejection', reject)
    })
  })

async function importModule(path: string): Promise<Exports> {
  const exports = { ...(await import(pathToFileURL(resolve(path)).href)) }
  // Node.js reports a promise that the module left rejected once the microtasks have run.
  await setImmediate()
  return exports
}

const misfit = (variable: string, path: string, reason: string): ConfigError =>
  new ConfigError([`${variable}: got ${JSON.stringify(path)}, ${reason}.`])
