import { isIP } from 'node:net'
import { parseCookieDomain, parseOrigin } from '../origins.ts'
import { parseDuration } from '../time.ts'
import { sslModes } from './postgres-address.ts'

/** One setting: its default, its parser and its description. */
export interface Setting<T> {
  /** The value when the variable is absent or empty. */
  readonly default: T
  /** The default as written in the documentation. */
  readonly defaultText: string
  /** The value, or undefined if the text is invalid. */
  readonly parse: (text: string) => T | undefined
  /** Completes the sentence "expected …" of a fault. */
  readonly wants: string
  readonly about: string
  /** A secret value is never printed. */
  readonly secret: boolean
  /** The default under NODE_ENV=production, if it differs. */
  readonly productionDefault?: T
}

interface Row<T> {
  readonly default: T
  readonly about: string
  readonly defaultText?: string
  readonly secret?: boolean
  readonly productionDefault?: T
}

const setting = <T>(row: Row<T>, wants: string, parse: Setting<T>['parse']): Setting<T> => ({
  secret: false,
  defaultText: row.default === undefined ? 'none' : String(row.default),
  ...row,
  wants,
  parse
})

const within = (value: number | undefined, min: number, max: number): number | undefined =>
  value !== undefined && value >= min && value <= max ? value : undefined

const integer = <D extends number | undefined>(row: Row<D> & { min: number; max: number }): Setting<number | D> =>
  setting<number | D>(row, `an integer from ${row.min} to ${row.max}`, (text) =>
    /^\d{1,15}$/.test(text) ? within(Number(text), row.min, row.max) : undefined
  )

/** Whole seconds, written as 300, 30s, 5m, 12h or 1d. */
const duration = (row: { default: string; min: string; max: string; about: string }): Setting<number> => {
  const [fallback = 0, min = 0, max = 0] = [row.default, row.min, row.max].map(parseDuration)
  return setting(
    { about: row.about, default: fallback, defaultText: row.default },
    `a duration from ${row.min} to ${row.max}, in seconds or in a form such as 30s, 5m, 12h, 1d`,
    (text) => within(parseDuration(text), min, max)
  )
}

const truths: Readonly<Record<string, boolean>> = {
  true: true,
  '1': true,
  on: true,
  false: false,
  '0': false,
  off: false
}

const boolean = <D extends boolean | undefined>(row: Row<D>): Setting<boolean | D> =>
  setting<boolean | D>(row, 'true or false', (text) => truths[text.toLowerCase()])

const choice = <const T extends string, D extends T | undefined>(choices: readonly T[], row: Row<D>): Setting<T | D> =>
  setting<T | D>(row, `one of ${choices.join(', ')}`, (text) =>
    choices.find((each) => each.toLowerCase() === text.toLowerCase())
  )

/** A string that the expression matches; any string without one. */
const text = <D extends string | undefined>(row: Row<D>, wants = 'a string', shape = /^/): Setting<string | D> =>
  setting<string | D>(row, wants, (value) => (shape.test(value) ? value : undefined))

const url = (schemes: readonly string[], row: Omit<Row<undefined>, 'default'>): Setting<string | undefined> =>
  setting<string | undefined>(
    { ...row, default: undefined, secret: true },
    `a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`,
    (value) => (schemes.some((scheme) => value.startsWith(`${scheme}://`)) ? value : undefined)
  )

/** Strings separated by commas or spaces. */
const list = (
  row: Row<readonly string[]>,
  wants: string,
  accepts: (item: string) => boolean
): Setting<readonly string[]> =>
  setting({ ...row, defaultText: row.default.join(',') || 'none' }, wants, (value) => {
    const items = value.split(/[\s,]+/).filter((item) => item !== '')
    return items.length > 0 && items.every(accepts) ? items : undefined
  })

/** Claims with a meaning in RFC 7519, RFC 9068 or Keyturn: no setting may give these names to other claims. */
const reservedClaims = ['exp', 'iat', 'nbf', 'iss', 'aud', 'sub', 'client_id', 'sid', 'gen']

/** The name of a claim, or one of `others`. */
const claimName = (row: Row<string>, ...others: readonly string[]): Setting<string> =>
  setting(
    row,
    ['a claim name that is not in use, such as id or https://example.com/id', ...others].join(', or '),
    (value) => {
      const isName = /^[A-Za-z][\w:/.-]{0,99}$/.test(value) && !(value in Object.prototype) && value !== 'none'
      return others.includes(value) || (isName && !reservedClaims.includes(value)) ? value : undefined
    }
  )

/** A number of requests per number of seconds; null means unlimited. */
export type Rate = { readonly requests: number; readonly window: number } | null

const parseRate = (value: string): Rate | undefined => {
  if (value.toLowerCase() === 'off') return null
  const match = /^([1-9]\d{0,8})\/([smh])$/.exec(value)
  return match === null ? undefined : { requests: Number(match[1]), window: parseDuration(`1${match[2]}`) ?? 1 }
}

const rate = (row: Row<string>): Setting<Rate> =>
  setting<Rate>(
    { about: row.about, default: parseRate(row.default) ?? null, defaultText: row.default },
    'off, or requests per second, minute or hour, such as 5/s, 20/m or 100/h',
    parseRate
  )

/**
 * Refresh tokens of another issuer are adopted if they were issued at or before `until`, in whole seconds since 1970. Null:
 * none are adopted.
 */
export type Adoption = { readonly until: number } | null

const parseAdoption = (value: string): Adoption | undefined => {
  const isOn = truths[value.toLowerCase()]
  if (isOn !== undefined) return isOn ? { until: Number.POSITIVE_INFINITY } : null
  const [, day, time] = /^until\s+(\d{4}-\d\d-\d\d)(T\d\d:\d\d:\d\dZ)?$/i.exec(value) ?? []
  const end = new Date(`${day}${time?.toUpperCase() ?? 'T23:59:59Z'}`)
  // Date parses a date that does not exist, such as 2026-02-31, as a different one.
  const exists = !Number.isNaN(end.getTime()) && end.toISOString().startsWith(`${day}`)
  return exists ? { until: end.getTime() / 1000 } : undefined
}

const isAddressRange = (value: string): boolean => {
  const [address = '', prefix = '0', ...rest] = value.split('/')
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address) as 0 | 4 | 6]
  return rest.length === 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= bits
}

/** Origins of web pages or apps, normalised by parseOrigin. */
const origins = (row: Row<readonly string[]>): Setting<readonly string[]> => {
  const setting = list(
    row,
    'origins such as https://app.example.com or capacitor://localhost',
    (item) => parseOrigin(item) !== undefined
  )
  return { ...setting, parse: (value) => setting.parse(value)?.map((item) => parseOrigin(item) ?? item) }
}

/** Source: RFC 7518 §3.1, RFC 8037 §3.1. */
const algorithmNames = [
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA'
] as const

/**
 * All settings. The variable of accessTokenLifetime is ACCESS_TOKEN_LIFETIME.
 * The tables in docs/configuration.md are generated from this one.
 */
export const settings = {
  port: integer({ default: 8000, min: 0, max: 65_535, about: 'TCP port to listen on; 0 picks a free port' }),
  host: text({ default: '127.0.0.1', productionDefault: '0.0.0.0', about: 'Address to listen on' }),
  managementPort: integer({
    default: undefined,
    min: 0,
    max: 65_535,
    about:
      'Separate TCP port on HOST for health, metrics, the management endpoints and the console; PORT then answers 404 for them'
  }),
  console: boolean({
    default: undefined,
    defaultText: 'on with MANAGEMENT_PORT, otherwise off',
    about: 'Serves the operator’s page at /console/ (docs/console.md)'
  }),
  backlog: integer({
    default: 2048,
    min: 1,
    max: 65_535,
    about: 'Maximum length of the queue of connections waiting to be accepted'
  }),
  pidfile: text({ default: undefined, about: 'File to which the arbiter writes its process id' }),

  webConcurrency: integer({
    default: undefined,
    defaultText: '1; in production with PostgreSQL and Redis, one per core',
    min: 1,
    max: 256,
    about: 'Number of worker processes'
  }),
  hashers: integer({
    default: undefined,
    defaultText: 'one per two workers',
    min: 1,
    max: 256,
    about: 'Number of processes that hash passwords, at a lower priority'
  }),
  timeout: duration({
    default: '30s',
    min: '0s',
    max: '1h',
    about: 'A worker that does not respond for this long is killed and replaced; 0 disables the limit'
  }),
  maxRequests: integer({
    default: 0,
    min: 0,
    max: 1_000_000_000,
    about: 'Number of requests after which a worker is replaced; 0 disables the limit'
  }),
  maxRequestsJitter: integer({
    default: 0,
    min: 0,
    max: 1_000_000_000,
    about: 'Maximum random addition to MAX_REQUESTS, so that not all workers are replaced at once'
  }),
  shutdownDelay: duration({
    default: '0s',
    min: '0s',
    max: '5m',
    about:
      'How long the service keeps serving after a stop signal while /health/ready answers 503, so that load balancers notice'
  }),

  databaseUrl: url(['postgres', 'postgresql'], {
    defaultText: 'embedded',
    about: 'PostgreSQL for users and keys; without it they are stored in a file in DATA_DIR'
  }),
  databasePool: integer({
    default: 4,
    min: 1,
    max: 100,
    about:
      'Maximum PostgreSQL connections per worker, opened on demand; a reload temporarily doubles the number of workers'
  }),
  redisUrl: url(['redis', 'rediss', 'redis+sentinel', 'rediss+sentinel', 'redis+cluster', 'rediss+cluster'], {
    defaultText: 'embedded',
    about: 'Redis for sessions; without it they are stored in a file in DATA_DIR'
  }),
  dataDir: text({ default: './data', about: 'Directory for embedded data' }),
  usersTable: text(
    {
      default: undefined,
      defaultText: 'Keyturn’s own',
      about:
        'Table in which Django stores its users: auth_user, or the table of a custom user model (docs/from-simple-jwt.md)'
    },
    'a table name, optionally with a schema: schema.table',
    /^[\p{L}_][\p{L}\p{N}_$]{0,62}(\.[\p{L}_][\p{L}\p{N}_$]{0,62})?$/u
  ),
  usersColumns: list(
    {
      default: [],
      about:
        'Columns of USERS_TABLE that do not have the default name id, username, password, is_active, date_joined or last_login: id=uuid,username=email'
    },
    'pairs such as id=uuid: one of id, username, password, is_active, date_joined, last_login, and its column',
    (pair) => /^(id|username|password|is_active|date_joined|last_login)=[\p{L}_][\p{L}\p{N}_$]{0,62}$/u.test(pair)
  ),
  redisTlsVerify: boolean({
    default: true,
    about: 'Verify the certificate of a rediss:// server; false accepts a self-signed certificate, as on Heroku'
  }),
  pgsslmode: choice(sslModes, {
    default: undefined,
    defaultText: 'from the URL',
    about:
      'TLS to PostgreSQL, like sslmode in DATABASE_URL; require and no-verify accept a self-signed certificate, as on Heroku'
  }),

  signingKey: text({
    default: undefined,
    secret: true,
    about:
      'Secret (HS256, HS384, HS512) or private key in PEM (other algorithms) that signs access tokens, as in Simple JWT; without it Keyturn generates and manages an ES256 key'
  }),
  verifyingKey: text({
    default: undefined,
    about: 'Public key of SIGNING_KEY in PEM; derived from it by default, ignored for a secret'
  }),
  algorithm: choice(algorithmNames, {
    default: undefined,
    defaultText: 'HS256 with SIGNING_KEY, otherwise ES256',
    about: 'Signature algorithm of access tokens'
  }),
  signingKeyPrevious: text({
    default: undefined,
    secret: true,
    about:
      'The previous SIGNING_KEY: tokens that it signed stay valid until they expire. For changing the key, or moving to managed keys'
  }),
  algorithmPrevious: choice(algorithmNames, {
    default: undefined,
    defaultText: 'HS256',
    about: 'Algorithm of SIGNING_KEY_PREVIOUS'
  }),
  keyEncryptionSecret: text(
    {
      default: undefined,
      secret: true,
      about:
        'Encrypts private keys in the database; required with DATABASE_URL unless SIGNING_KEY is set. With embedded data it is generated at the first start and stored in DATA_DIR'
    },
    'a string of at least 32 characters',
    /^.{32,}$/s
  ),

  keyEncryptionSecretPrevious: text({
    default: undefined,
    secret: true,
    about: 'The previous KEY_ENCRYPTION_SECRET, needed until keyturn keys reseal has run'
  }),
  keyRotationInterval: duration({
    default: '30d',
    min: '1m',
    max: '3650d',
    about: 'How long a managed key is used for signing'
  }),
  jwksMaxAge: duration({
    default: '10m',
    min: '1s',
    max: '1d',
    about: 'How long verifiers may cache the JWKS; a managed key is published for twice as long before it signs'
  }),

  accessTokenLifetime: duration({ default: '5m', min: '1s', max: '1d', about: 'Lifetime of access tokens' }),
  refreshTokenLifetime: duration({
    default: '1d',
    min: '1s',
    max: '365d',
    about: 'Lifetime of refresh tokens; a session that is not refreshed for this long expires'
  }),
  slidingTokens: boolean({
    default: false,
    about: 'Enables sliding tokens at /api/token/sliding/: one token for requests and refreshes'
  }),
  slidingTokenLifetime: duration({ default: '5m', min: '1s', max: '365d', about: 'Lifetime of sliding tokens' }),
  slidingTokenRefreshLifetime: duration({
    default: '1d',
    min: '1s',
    max: '365d',
    about: 'How long after a login its sliding tokens can be refreshed'
  }),
  slidingTokenRefreshExpClaim: claimName({
    default: 'refresh_exp',
    about: 'Claim with the time until which a sliding token can be refreshed'
  }),
  sessionAbsoluteLifetime: duration({
    default: '30d',
    min: '1s',
    max: '3650d',
    about: 'Maximum duration of a session, however often it is refreshed'
  }),
  maxSessionsPerUser: integer({
    default: 1000,
    min: 1,
    max: 10_000,
    about: 'Maximum concurrent sessions per user; a further login ends the oldest session'
  }),
  rotateRefreshTokens: boolean({ default: true, about: 'A refresh also returns a new refresh token' }),
  blacklistAfterRotation: boolean({
    default: true,
    about:
      'A rotated refresh token becomes invalid, and its reuse ends the session; false keeps it valid until it expires'
  }),
  refreshReuseGrace: duration({
    default: '10s',
    min: '0s',
    max: '60s',
    about:
      'How long after its rotation a refresh token may be presented again (a retry, a lost response, two tabs); 0 disables it'
  }),
  refreshLateRetry: duration({
    default: '1d',
    min: '0s',
    max: '365d',
    about:
      'How long after its rotation the predecessor of the newest refresh token is still accepted, if the newest was never presented; at most the refresh lifetime; 0 disables it, as does REFRESH_REUSE_GRACE=0'
  }),
  adoptRefreshTokens: setting<Adoption>(
    {
      default: null,
      defaultText: 'off',
      about:
        'Accepts refresh and sliding tokens that Simple JWT signed with SIGNING_KEY or SIGNING_KEY_PREVIOUS, each once: all of them, or those issued until the end of a day (UTC). While it is on, anyone who has that key can log in as any user (docs/from-simple-jwt.md)'
    },
    'off, on, or a last day of issue: until 2026-12-31 (or until 2026-12-31T12:00:00Z)',
    parseAdoption
  ),
  revocationStaleness: duration({
    default: '30s',
    min: '2s',
    max: '5m',
    about:
      'How long the revocation feed may be silent before access tokens are refused (503), so that revocations are never missed'
  }),
  issuer: text({ default: undefined, about: 'Value of iss in issued tokens; tokens with another iss are refused' }),
  audience: list(
    { default: [], about: 'Values of aud in issued tokens; a token is accepted if its aud has at least one of them' },
    'one or more strings',
    () => true
  ),
  tokenProfile: choice(['simplejwt', 'rfc9068'], {
    default: 'simplejwt',
    about: 'Format of access tokens: that of Simple JWT, or RFC 9068 (typ at+jwt, sub, client_id)'
  }),
  hooksModule: text({
    default: undefined,
    about:
      'File of a module with custom functions: claims, userAuthenticationRule, onLoginSuccess, onLoginFailed, onRefreshVerdict, onPasswordResetRequested (docs/hooks.md)'
  }),
  claimsModule: text({
    default: undefined,
    about: 'File of a module whose default export is the claims function of HOOKS_MODULE'
  }),
  leeway: duration({
    default: '0s',
    min: '0s',
    max: '5m',
    about: 'Clock difference tolerated when exp and nbf are checked'
  }),
  authHeaderTypes: list(
    {
      default: ['Bearer'],
      about: 'Schemes accepted in the Authorization header; the first is used in WWW-Authenticate'
    },
    'one or more scheme names',
    (scheme) => /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(scheme)
  ),

  userIdField: choice(['id', 'username'], {
    default: 'id',
    about: 'User field that tokens and sessions contain; changing it logs all users out'
  }),
  userIdClaim: claimName({ default: 'user_id', about: 'Claim with the id of the user' }, 'sub'),
  tokenTypeClaim: claimName(
    {
      default: 'token_type',
      about:
        'Claim that distinguishes access, refresh and sliding tokens; none: tokens of other issuers need not have it'
    },
    'none'
  ),
  jtiClaim: claimName(
    { default: 'jti', about: 'Claim with the id of the token; none: tokens of other issuers need not have it' },
    'none'
  ),

  checkRevokeToken: boolean({
    default: undefined,
    defaultText: 'false; with USERS_TABLE, true for the tokens of Keyturn',
    about: 'A password change invalidates the tokens issued before it; tokens contain a hash of the stored digest'
  }),
  revokeTokenClaim: claimName({ default: 'hash_password', about: 'Claim with the hash for CHECK_REVOKE_TOKEN' }),
  checkUserIsActive: boolean({
    default: true,
    about: 'Only active users can log in, refresh and use tokens; false ignores is_active'
  }),
  updateLastLogin: boolean({ default: false, about: 'Stores the time of each login with the user' }),

  argon2Memory: integer({
    default: 19_456,
    min: 8192,
    max: 1_048_576,
    about: 'Memory cost of a password hash, in KiB'
  }),
  argon2Time: integer({ default: 2, min: 1, max: 64, about: 'Number of passes of a password hash' }),
  argon2Parallelism: integer({ default: 1, min: 1, max: 16, about: 'Number of lanes of a password hash' }),
  passwordRehash: choice(['argon2id', 'django', 'never'], {
    default: undefined,
    defaultText: 'argon2id; django with USERS_TABLE',
    about:
      'Format to which a login converts password hashes of other formats: argon2id; django, for a table that Django reads too, keeps Django’s hashes and otherwise writes pbkdf2_sha256; never keeps all hashes (docs/from-simple-jwt.md)'
  }),
  hashQueue: integer({
    default: 64,
    min: 1,
    max: 10_000,
    about: 'Maximum logins waiting for a hash; further ones are answered 503'
  }),
  passwordMinLength: integer({
    default: 8,
    min: 1,
    max: 128,
    about: 'Minimum length of a new password, in characters'
  }),
  passwordRefuseCommon: boolean({
    default: true,
    about: 'Refuses new passwords that are commonly used (docs/logins.md)'
  }),

  rateLimitObtain: rate({ default: '20/m', about: 'Limit of logins per address' }),
  rateLimitRefresh: rate({ default: '120/m', about: 'Limit of refreshes per address' }),
  rateLimitVerify: rate({ default: 'off', about: 'Limit of verifications per address' }),
  rateLimitIntrospect: rate({ default: 'off', about: 'Limit of introspections per address' }),
  rateLimitAllow: list(
    { default: [], about: 'Addresses without rate limits: IP addresses or CIDRs' },
    'IP addresses or CIDR ranges',
    isAddressRange
  ),
  rateLimitFailClosed: list(
    {
      default: ['obtain'],
      about:
        'Limits that answer 503 while Redis is unavailable; the others are then counted per worker. obtain, refresh, verify, introspect, or none'
    },
    'obtain, refresh, verify, introspect, or none',
    (name) => ['obtain', 'refresh', 'verify', 'introspect', 'none'].includes(name)
  ),
  loginBackoff: boolean({
    default: true,
    defaultText: 'on',
    about:
      'Slows down password guessing: after ten wrong passwords an account allows one attempt per minute, except from where its owner has logged in; off disables LOGIN_FAILURES_… too (docs/logins.md)'
  }),
  loginFailuresAddress: rate({
    default: '100/h',
    about:
      'Limit of wrong passwords per address, for accounts that have not logged in from there; and of password reset requests'
  }),
  loginFailuresAll: rate({
    default: '600/m',
    about: 'Limit of wrong passwords for all accounts together, from addresses from which they have not logged in'
  }),
  forwardedAllowIps: list(
    {
      default: ['127.0.0.1', '::1'],
      about: 'Proxies whose X-Forwarded-* headers are trusted: IP addresses, CIDRs, or *'
    },
    'IP addresses or CIDR ranges, or *',
    (item) => item === '*' || isAddressRange(item)
  ),

  cookieMode: boolean({
    default: false,
    defaultText: 'off',
    about: 'For browsers: sends the refresh token in an HttpOnly cookie instead of the body'
  }),
  cookieName: text(
    { default: '__Host-refresh', about: 'Name of the refresh cookie' },
    'a cookie name',
    /^[\w!#$%&'*+.^`|~-]+$/
  ),
  cookieDomain: setting<string | undefined>(
    { default: undefined, about: 'Domain of the refresh cookie; requires a COOKIE_NAME without __Host-' },
    'a domain name of at least two labels, such as example.com',
    parseCookieDomain
  ),
  cookieSamesite: choice(['Strict', 'Lax', 'None'], { default: 'Strict', about: 'SameSite of the refresh cookie' }),
  cookieOrigins: origins({ default: [], about: 'Other origins whose pages may use the cookie' }),

  corsOrigins: origins({ default: [], about: 'Origins whose pages may call Keyturn, without cookies' }),
  forwardAuthCookie: text(
    { default: undefined, about: 'Name of a cookie from which forward-auth also accepts an access token' },
    'a cookie name',
    /^[\w!#$%&'*+.^`|~-]+$/
  ),
  forwardAuthMaxAge: duration({
    default: '0s',
    min: '0s',
    max: '60s',
    about: 'How long a proxy may cache a forward-auth response; revocations take effect after at most this time'
  }),

  metricsToken: text({
    default: undefined,
    secret: true,
    about: 'Bearer token for GET /metrics; without it, only requests from this host are answered'
  }),

  gracefulTimeout: duration({
    default: '20s',
    min: '1s',
    max: '5m',
    about: 'How long requests in flight may take to finish when the service stops'
  }),
  keepalive: duration({ default: '95s', min: '1s', max: '1h', about: 'How long an idle connection stays open' }),
  keepaliveRequests: integer({
    default: 10_000,
    min: 0,
    max: 1_000_000_000,
    about: 'Maximum requests per connection; the last is answered with Connection: close; 0 disables the limit'
  }),
  maxConnections: integer({
    default: 10_000,
    min: 1,
    max: 1_000_000,
    about: 'Maximum connections per worker; further ones are closed'
  }),
  maxRevocationStreams: integer({
    default: 256,
    min: 0,
    max: 100_000,
    about: 'Maximum revocation streams per worker; further ones are answered 503'
  }),
  requestTimeout: duration({
    default: '20s',
    min: '1s',
    max: '5m',
    about: 'How long a request may take to arrive, headers and body, before it is answered 408'
  }),
  bodyLimit: integer({ default: 16_384, min: 1024, max: 1_048_576, about: 'Maximum size of a request body, in bytes' }),
  logLevel: choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    about: 'Lowest level that is logged'
  }),
  logFormat: choice(['json', 'pretty'], {
    default: undefined,
    defaultText: 'pretty on a terminal, otherwise json',
    about: 'Format of the log lines on standard output'
  })
} as const

type ValueOf<S> = S extends Setting<infer T> ? T : never

/** The configuration: frozen, durations in whole seconds. */
export type Config = { readonly [Name in keyof typeof settings]: ValueOf<(typeof settings)[Name]> } & {
  readonly production: boolean
  /** The setting; if it is not set, whether MANAGEMENT_PORT is. */
  readonly console: boolean
}

export type SettingName = keyof typeof settings

/** accessTokenLifetime -> ACCESS_TOKEN_LIFETIME. */
export const variableOf = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
