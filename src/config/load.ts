import { OperatorError } from '../errors.ts'
import { claimNameFaults } from './claim-names.ts'
import { loadEnvFile, quote } from './env-file.ts'
import { pathFaults } from './paths.ts'
import { parsePostgresUrl } from './postgres-address.ts'
import { parseRedisUrl } from './redis-address.ts'
import { type Config, type Setting, type SettingName, settings, variableOf } from './settings.ts'
import { isReadableByAll, readUtf8 } from './text-file.ts'

/** An invalid configuration: one line per fault, each naming the variable, what it got and what it expected. */
export class ConfigError extends OperatorError {
  override readonly name = 'ConfigError'
  /** EX_CONFIG of sysexits.h. */
  readonly exitCode = 78
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(faults.join('\n'))
    this.faults = faults
  }
}

export type Environment = Readonly<Record<string, string | undefined>>

/** Checks the whole configuration; returns one line per contradiction. */
export type Check = (config: Config) => readonly string[]

const consistency: Check = (config) => {
  const faults = [...claimNameFaults(config), ...urlFaults(config), ...pathFaults(config)]
  if (config.databaseUrl !== undefined && config.signingKey === undefined && config.keyEncryptionSecret === undefined) {
    faults.push(
      'KEY_ENCRYPTION_SECRET: not set, expected a string of at least 32 characters, since DATABASE_URL is set and stores the signing keys (or set SIGNING_KEY).'
    )
  }
  if (config.usersTable !== undefined && config.databaseUrl === undefined) {
    faults.push(
      'USERS_TABLE: set without DATABASE_URL, expected the PostgreSQL database in which Django stores its users.'
    )
  }
  if (config.managementPort === config.port && config.port !== 0) {
    faults.push(`MANAGEMENT_PORT: got ${config.port}, which is PORT, expected another port.`)
  }
  if (config.accessTokenLifetime > config.refreshTokenLifetime) {
    faults.push('ACCESS_TOKEN_LIFETIME: longer than REFRESH_TOKEN_LIFETIME, expected at most as long.')
  }
  if (config.sessionAbsoluteLifetime < config.refreshTokenLifetime) {
    faults.push('SESSION_ABSOLUTE_LIFETIME: shorter than REFRESH_TOKEN_LIFETIME, expected at least as long.')
  }
  if (config.slidingTokens && config.sessionAbsoluteLifetime < config.slidingTokenRefreshLifetime) {
    faults.push('SESSION_ABSOLUTE_LIFETIME: shorter than SLIDING_TOKEN_REFRESH_LIFETIME, expected at least as long.')
  }
  // Browsers compare the prefix without regard to case (RFC 6265bis §4.1.3).
  if (/^__Host-/i.test(config.cookieName) && config.cookieDomain !== undefined) {
    faults.push(
      'COOKIE_DOMAIN: set, expected none while COOKIE_NAME begins with __Host- (browsers refuse such a cookie).'
    )
  }
  if (config.tokenProfile === 'rfc9068' && (config.issuer === undefined || config.audience.length === 0)) {
    faults.push(
      'TOKEN_PROFILE: rfc9068 without ISSUER or AUDIENCE, expected both (RFC 9068 §2.2 requires iss and aud).'
    )
  }
  return faults
}

/** The errors of parsing the URLs of the stores, as fault lines. */
function urlFaults({ databaseUrl, redisUrl, pgsslmode }: Config): readonly string[] {
  const fault = (variable: string, url: string | undefined, parse: (url: string) => unknown): readonly string[] => {
    try {
      if (url !== undefined) parse(url)
      return []
    } catch (error) {
      return [`${variable}: ${(error as Error).message}.`]
    }
  }
  return [
    ...fault('DATABASE_URL', databaseUrl, (url) => parsePostgresUrl(url, pgsslmode)),
    ...fault('REDIS_URL', redisUrl, parseRedisUrl)
  ]
}

/**
 * Reads the configuration from `own` and from the file in its ENV_FILE (`own` wins). An empty variable counts as absent.
 * NAME_FILE names a file with the value. Throws ConfigError with all faults at once; `checks` adds checks of other modules.
 */
export function loadConfig(own: Environment, ...checks: readonly Check[]): Config {
  const env = { ...readEnvFile(own.ENV_FILE), ...own }
  const production = env.NODE_ENV === 'production'
  const faults: string[] = []
  const read = <T>(name: string, setting: Setting<T>): T => {
    const fallback = production && setting.productionDefault !== undefined ? setting.productionDefault : setting.default
    try {
      const text = readText(env, variableOf(name))
      return text === undefined ? fallback : parse(variableOf(name), text, setting)
    } catch (error) {
      faults.push((error as Error).message)
      return fallback
    }
  }
  const entries = (Object.keys(settings) as SettingName[]).map((name) => [name, read<unknown>(name, settings[name])])
  const values = Object.fromEntries(entries)
  const config: Config = Object.freeze({
    ...values,
    production,
    console: values.console ?? values.managementPort !== undefined
  })
  for (const check of [consistency, ...checks]) faults.push(...check(config).filter((fault) => !isNamed(faults, fault)))
  if (faults.length > 0) throw new ConfigError(faults)
  return config
}

/**
 * As loadConfig, for a service of several processes, each of which reads the files at its start. Throws ConfigError also for a
 * file that only this process can read, or only once: a pipe, a descriptor.
 */
export function loadServiceConfig(own: Environment, ...checks: readonly Check[]): Config {
  demandFiles(own, ['ENV_FILE'])
  const names = (Object.keys(settings) as SettingName[]).map((name) => `${variableOf(name)}_FILE`)
  demandFiles({ ...readEnvFile(own.ENV_FILE), ...own }, names)
  return loadConfig(own, ...checks)
}

function demandFiles(env: Environment, names: readonly string[]): void {
  const faults = names.flatMap((name) => {
    const file = env[name]
    if (file === undefined || file === '' || isReadableByAll(file)) return []
    return [`${name}: got ${quote(file)}, expected a regular file, since each process of the service reads it.`]
  })
  if (faults.length > 0) throw new ConfigError(faults)
}

function readEnvFile(file: string | undefined): Environment {
  try {
    return loadEnvFile(file)
  } catch (error) {
    throw new ConfigError((error as Error).message.split('\n'))
  }
}

/** Whether the variable of `fault` has a fault already: one per variable is enough. */
const isNamed = (faults: readonly string[], fault: string): boolean => {
  const variable = fault.slice(0, fault.indexOf(':'))
  return faults.some((each) => each.startsWith(`${variable}:`) || each.startsWith(`${variable}_FILE:`))
}

function readText(env: Environment, variable: string): string | undefined {
  const file = env[`${variable}_FILE`]
  if (file === undefined || file === '') return env[variable] === '' ? undefined : env[variable]
  if (env[variable]) throw new Error(`${variable}_FILE: ${variable} is also set, expected only one of the two.`)
  try {
    return readUtf8(file).replace(/\r?\n$/, '')
  } catch (error) {
    throw new Error(`${variable}_FILE: got ${quote(file)}, ${(error as Error).message}.`)
  }
}

function parse<T>(variable: string, text: string, setting: Setting<T>): T {
  const value = setting.parse(text)
  if (value !== undefined) return value
  const got = setting.secret ? `a value of ${text.length} characters` : quote(text.slice(0, 80))
  throw new Error(`${variable}: got ${got}, expected ${setting.wants}.`)
}
