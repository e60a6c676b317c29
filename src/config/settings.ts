import { isIP } from 'node:net'
import { parseCookieDomain, parseOrigin } from '../origins.ts'
import { parseDuration } from '../time.ts'
import { sslModes } from './postgres-address.ts'

/** One setting: how its text is read, what it is when absent, and what to tell people about it. */
export interface Setting<T> {
  /** The value when the variable is absent or empty. */
  readonly default: T
  /** The default as people write it. */
  readonly defaultText: string
  /** The value, or undefined when the text is not what the setting wants. */
  readonly parse: (text: string) => T | undefined
  /** Completes the sentence "expected …" of a fault. */
  readonly wants: string
  readonly about: string
  /** A secret value is never printed. */
  readonly secret: boolean
  /** The default under NODE_ENV=production, where it is another. */
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
  setting<number | D>(row, `a whole number from ${row.min} to ${row.max}`, (text) =>
    /^\d{1,15}$/.test(text) ? within(Number(text), row.min, row.max) : undefined
  )

/** Whole seconds, written as 300, 30s, 5m, 12h or 1d. */
const duration = (row: { default: string; min: string; max: string; about: string }): Setting<number> => {
  const [fallback = 0, min = 0, max = 0] = [row.default, row.min, row.max].map(parseDuration)
  return setting(
    { about: row.about, default: fallback, defaultText: row.default },
    `a duration from ${row.min} to ${row.max}, in seconds or as 30s, 5m, 12h, 1d`,
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

/** A text that the expression matches; any text when there is none. */
const text = <D extends string | undefined>(row: Row<D>, wants = 'a text', shape = /^/): Setting<string | D> =>
  setting<string | D>(row, wants, (value) => (shape.test(value) ? value : undefined))

const url = (schemes: readonly string[], row: Omit<Row<undefined>, 'default'>): Setting<string | undefined> =>
  setting<string | undefined>(
    { ...row, default: undefined, secret: true },
    `a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`,
    (value) => (schemes.some((scheme) => value.startsWith(`${scheme}://`)) ? value : undefined)
  )

/** Texts parted by commas or blanks. */
const list = (
  row: Row<readonly string[]>,
  wants: string,
  accepts: (item: string) => boolean
): Setting<readonly string[]> =>
  setting({ ...row, defaultText: row.default.join(',') || 'none' }, wants, (value) => {
    const items = value.split(/[\s,]+/).filter((item) => item !== '')
    return items.length > 0 && items.every(accepts) ? items : undefined
  })

/** Claims whose meaning is given, by RFC 7519, RFC 9068 or Keyturn: no setting may call another one so. */
const givenClaims = ['exp', 'iat', 'nbf', 'iss', 'aud', 'sub', 'client_id', 'sid', 'gen']

/** The name of a claim, or one of `others`. */
const claimName = (row: Row<string>, ...others: readonly string[]): Setting<string> =>
  setting(
    row,
    ['a name that no other claim has, as id or https://example.com/id', ...others].join(', or '),
    (value) => {
      const isName = /^[A-Za-z][\w:/.-]{0,99}$/.test(value) && !(value in Object.prototype) && value !== 'none'
      return others.includes(value) || (isName && !givenClaims.includes(value)) ? value : undefined
    }
  )

/** At most so many requests in so many seconds; null is no limit. */
export type Rate = { readonly requests: number; readonly window: number } | null

const parseRate = (value: string): Rate | undefined => {
  if (value.toLowerCase() === 'off') return null
  const match = /^([1-9]\d{0,8})\/([smh])$/.exec(value)
  return match === null ? undefined : { requests: Number(match[1]), window: parseDuration(`1${match[2]}`) ?? 1 }
}

const rate = (row: Row<string>): Setting<Rate> =>
  setting<Rate>(
    { about: row.about, default: parseRate(row.default) ?? null, defaultText: row.default },
    'off, or requests a second, minute or hour, as 5/s, 20/m or 100/h',
    parseRate
  )

/** Which refresh tokens of another issuer are adopted: those issued until then, in whole seconds since 1970; null is none. */
export type Adoption = { readonly until: number } | null

const parseAdoption = (value: string): Adoption | undefined => {
  const isOn = truths[value.toLowerCase()]
  if (isOn !== undefined) return isOn ? { until: Number.POSITIVE_INFINITY } : null
  const [, day, time] = /^until\s+(\d{4}-\d\d-\d\d)(T\d\d:\d\d:\d\dZ)?$/i.exec(value) ?? []
  const end = new Date(`${day}${time?.toUpperCase() ?? 'T23:59:59Z'}`)
  // A date that does not exist, as 2026-02-31, is read as another one.
  const exists = !Number.isNaN(end.getTime()) && end.toISOString().startsWith(`${day}`)
  return exists ? { until: end.getTime() / 1000 } : undefined
}

const isAddressRange = (value: string): boolean => {
  const [address = '', prefix = '0', ...rest] = value.split('/')
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address) as 0 | 4 | 6]
  return rest.length === 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= bits
}

/** Origins of web pages or apps, normalised as parseOrigin has them. */
const origins = (row: Row<readonly string[]>): Setting<readonly string[]> => {
  const setting = list(
    row,
    'origins as https://app.example.com or capacitor://localhost',
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
 * Every setting, once. The variable is the key in capitals: accessTokenLifetime is ACCESS_TOKEN_LIFETIME.
 * docs/configuration.md is written from this table.
 */
export const settings = {
  port: integer({ default: 8000, min: 0, max: 65_535, about: 'TCP port to listen on; 0 takes a free one' }),
  host: text({ default: '127.0.0.1', productionDefault: '0.0.0.0', about: 'Address to listen on' }),
  managementPort: integer({
    default: undefined,
    min: 0,
    max: 65_535,
    about: 'TCP port of HOST for health and metrics, which are then 404 at PORT'
  }),
  backlog: integer({ default: 2048, min: 1, max: 65_535, about: 'Connections that may wait to be accepted' }),
  pidfile: text({ default: undefined, about: 'File for the process id of the arbiter' }),

  webConcurrency: integer({
    default: undefined,
    defaultText: '1; in production with PostgreSQL and Redis one a core',
    min: 1,
    max: 256,
    about: 'Worker processes'
  }),
  hashers: integer({
    default: undefined,
    defaultText: 'one for two workers',
    min: 1,
    max: 256,
    about: 'Processes, at a lower priority, that hash passwords'
  }),
  timeout: duration({
    default: '30s',
    min: '0s',
    max: '1h',
    about: 'A worker that is silent for so long is killed and replaced; 0 is no limit'
  }),
  maxRequests: integer({
    default: 0,
    min: 0,
    max: 1_000_000_000,
    about: 'Requests after which a worker is replaced; 0 is no limit'
  }),
  maxRequestsJitter: integer({
    default: 0,
    min: 0,
    max: 1_000_000_000,
    about: 'At most so many more requests, by chance, so that not all workers are replaced at once'
  }),
  shutdownDelay: duration({
    default: '0s',
    min: '0s',
    max: '5m',
    about: 'How long a stop goes on serving while /health/ready answers 503, for balancers that need to notice'
  }),

  databaseUrl: url(['postgres', 'postgresql'], {
    defaultText: 'embedded',
    about: 'PostgreSQL for users and keys; without it they live in a file under DATA_DIR'
  }),
  databasePool: integer({
    default: 4,
    min: 1,
    max: 100,
    about:
      'Connections of a worker to PostgreSQL, opened as they are needed; in a reload there are twice as many workers'
  }),
  redisUrl: url(['redis', 'rediss', 'redis+sentinel', 'rediss+sentinel', 'redis+cluster', 'rediss+cluster'], {
    defaultText: 'embedded',
    about: 'Redis for sessions; without it they live in a file under DATA_DIR'
  }),
  dataDir: text({ default: './data', about: 'Folder of the embedded data' }),
  usersTable: text(
    {
      default: undefined,
      defaultText: 'Keyturn’s own',
      about:
        'Table of DATABASE_URL where Django keeps its users: auth_user, or that of a user model of your own (docs/from-simple-jwt.md)'
    },
    'the name of a table, perhaps after that of its schema and a dot',
    /^[\p{L}_][\p{L}\p{N}_$]{0,62}(\.[\p{L}_][\p{L}\p{N}_$]{0,62})?$/u
  ),
  usersColumns: list(
    {
      default: [],
      about:
        'Columns of USERS_TABLE that are not called id, username, password, is_active, date_joined or last_login there: id=uuid,username=email'
    },
    'pairs as id=uuid, of id, username, password, is_active, date_joined or last_login and the column for it',
    (pair) => /^(id|username|password|is_active|date_joined|last_login)=[\p{L}_][\p{L}\p{N}_$]{0,62}$/u.test(pair)
  ),
  redisTlsVerify: boolean({
    default: true,
    about: 'Check the certificate of a rediss:// server; false accepts a self-signed one, as Heroku has it'
  }),
  pgsslmode: choice(sslModes, {
    default: undefined,
    defaultText: 'from the URL',
    about:
      'TLS to PostgreSQL, as sslmode in DATABASE_URL; require and no-verify accept a self-signed certificate, as on Heroku'
  }),

  signingKey: text({
    default: undefined,
    secret: true,
    about:
      'Secret (HS256, HS384, HS512) or private key in PEM (the others) that signs access tokens, as Simple JWT has it; without it Keyturn makes and keeps an ES256 key itself'
  }),
  verifyingKey: text({
    default: undefined,
    about: 'Public key in PEM of SIGNING_KEY; derived from it when absent, ignored for a secret'
  }),
  algorithm: choice(algorithmNames, {
    default: undefined,
    defaultText: 'HS256 with SIGNING_KEY, otherwise ES256',
    about: 'Algorithm of access tokens'
  }),
  signingKeyPrevious: text({
    default: undefined,
    secret: true,
    about:
      'The former SIGNING_KEY: what it signed is good until it expires. For a move to another key, or to managed ones'
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
        'Seals private keys in the database; required with DATABASE_URL unless SIGNING_KEY is set. Embedded: made at the first start and kept in DATA_DIR'
    },
    'a text of at least 32 characters',
    /^.{32,}$/s
  ),

  keyEncryptionSecretPrevious: text({
    default: undefined,
    secret: true,
    about: 'The former KEY_ENCRYPTION_SECRET, until keyturn keys reseal has been run'
  }),
  keyRotationInterval: duration({ default: '30d', min: '1m', max: '3650d', about: 'How long a managed key signs' }),
  jwksMaxAge: duration({
    default: '10m',
    min: '1s',
    max: '1d',
    about: 'How long verifiers may keep the JWKS; a managed key is published for twice as long before it signs'
  }),

  accessTokenLifetime: duration({ default: '5m', min: '1s', max: '1d', about: 'How long an access token is good' }),
  refreshTokenLifetime: duration({
    default: '1d',
    min: '1s',
    max: '365d',
    about: 'How long a refresh token is good; a session that is not refreshed for so long is over'
  }),
  slidingTokens: boolean({
    default: false,
    about: 'Sliding tokens: one token for requests and refreshes, at /api/token/sliding/'
  }),
  slidingTokenLifetime: duration({ default: '5m', min: '1s', max: '365d', about: 'How long a sliding token is good' }),
  slidingTokenRefreshLifetime: duration({
    default: '1d',
    min: '1s',
    max: '365d',
    about: 'How long after a login its sliding tokens may be refreshed'
  }),
  slidingTokenRefreshExpClaim: claimName({
    default: 'refresh_exp',
    about: 'Claim that says until when a sliding token may be refreshed'
  }),
  sessionAbsoluteLifetime: duration({
    default: '30d',
    min: '1s',
    max: '3650d',
    about: 'How long a session may last in all, however often it is refreshed'
  }),
  maxSessionsPerUser: integer({
    default: 1000,
    min: 1,
    max: 10_000,
    about: 'Sessions a user may have at once; a login beyond it ends the oldest'
  }),
  rotateRefreshTokens: boolean({ default: true, about: 'A refresh answers with a new refresh token too' }),
  blacklistAfterRotation: boolean({
    default: true,
    about:
      'A rotated refresh token is no longer good, and its reuse ends the session; false keeps it good until it expires'
  }),
  refreshReuseGrace: duration({
    default: '10s',
    min: '0s',
    max: '60s',
    about:
      'How long after its rotation a refresh token may be presented again (a retry, a lost answer, two tabs); 0 turns it off'
  }),
  refreshLateRetry: duration({
    default: '1d',
    min: '0s',
    max: '365d',
    about:
      'How long after its rotation the refresh token before the newest is still answered, if the newest was never presented; at most the refresh lifetime; 0 turns it off, as does REFRESH_REUSE_GRACE=0'
  }),
  adoptRefreshTokens: setting<Adoption>(
    {
      default: null,
      defaultText: 'off',
      about:
        'Adopt refresh and sliding tokens that Simple JWT signed with SIGNING_KEY or SIGNING_KEY_PREVIOUS: all of them, or those issued until the end of a day (UTC), each once. While it is on, anyone who has that key can log in as any user (docs/from-simple-jwt.md)'
    },
    'off, on, or the last day on which they were issued: until 2026-12-31 (or until 2026-12-31T12:00:00Z)',
    parseAdoption
  ),
  revocationStaleness: duration({
    default: '30s',
    min: '2s',
    max: '5m',
    about:
      'How long the revocation feed may be silent before access tokens are no longer verified (503): better closed than open'
  }),
  issuer: text({ default: undefined, about: 'Written as iss into tokens, and demanded of them' }),
  audience: list(
    { default: [], about: 'Written as aud into tokens; a token is good for us when one of its aud is here' },
    'one or more texts',
    () => true
  ),
  tokenProfile: choice(['simplejwt', 'rfc9068'], {
    default: 'simplejwt',
    about: 'Form of access tokens: as Simple JWT makes them, or RFC 9068 (typ at+jwt, sub, client_id)'
  }),
  hooksModule: text({
    default: undefined,
    about:
      'File of a module with functions of your own: claims, userAuthenticationRule, onLoginSuccess, onLoginFailed, onRefreshVerdict (docs/hooks.md)'
  }),
  claimsModule: text({
    default: undefined,
    about: 'File of a module whose default function is the claims of HOOKS_MODULE'
  }),
  leeway: duration({
    default: '0s',
    min: '0s',
    max: '5m',
    about: 'Clock difference allowed when exp and nbf are checked'
  }),
  authHeaderTypes: list(
    { default: ['Bearer'], about: 'Words accepted before the token in Authorization; the first is in the challenge' },
    'one or more words',
    (word) => /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(word)
  ),

  userIdField: choice(['id', 'username'], {
    default: 'id',
    about: 'Field of a user that tokens carry and sessions are kept under; another one logs everybody out'
  }),
  userIdClaim: claimName({ default: 'user_id', about: 'Claim that says whose a token is' }, 'sub'),
  tokenTypeClaim: claimName(
    {
      default: 'token_type',
      about: 'Claim that tells access, refresh and sliding tokens apart; none: a token of others need not have it'
    },
    'none'
  ),
  jtiClaim: claimName(
    { default: 'jti', about: 'Claim with the id of a token; none: a token of others need not have it' },
    'none'
  ),

  checkRevokeToken: boolean({
    default: undefined,
    defaultText: 'false; with USERS_TABLE true for the tokens of Keyturn',
    about: 'A token is good only under the password it was made under: it carries a hash of the stored digest'
  }),
  revokeTokenClaim: claimName({ default: 'hash_password', about: 'Claim of CHECK_REVOKE_TOKEN' }),
  checkUserIsActive: boolean({
    default: true,
    about: 'Only active users log in, refresh and are let in; false does not look at it'
  }),
  updateLastLogin: boolean({ default: false, about: 'Each login is dated with the user' }),

  argon2Memory: integer({ default: 19_456, min: 8192, max: 1_048_576, about: 'Memory of a password hash, in KiB' }),
  argon2Time: integer({ default: 2, min: 1, max: 64, about: 'Passes of a password hash' }),
  argon2Parallelism: integer({ default: 1, min: 1, max: 16, about: 'Lanes of a password hash' }),
  passwordRehash: choice(['argon2id', 'django', 'never'], {
    default: undefined,
    defaultText: 'argon2id; django with USERS_TABLE',
    about:
      'What a login makes of a password hash of another form: argon2id; django, for a table that Django reads too, keeps what Django wrote and otherwise writes pbkdf2_sha256; never leaves all as they are (docs/from-simple-jwt.md)'
  }),
  hashQueue: integer({
    default: 64,
    min: 1,
    max: 10_000,
    about: 'Logins that may wait for a hash; one more is answered 503'
  }),
  passwordMinLength: integer({
    default: 8,
    min: 1,
    max: 128,
    about: 'Shortest password that may be set, in characters'
  }),
  passwordRefuseCommon: boolean({
    default: true,
    about: 'A password that many people use may not be set (docs/logins.md)'
  }),

  rateLimitObtain: rate({ default: '20/m', about: 'Logins from one address' }),
  rateLimitRefresh: rate({ default: '120/m', about: 'Refreshes from one address' }),
  rateLimitVerify: rate({ default: 'off', about: 'Verifications from one address' }),
  rateLimitIntrospect: rate({ default: 'off', about: 'Introspections from one address' }),
  rateLimitAllow: list(
    { default: [], about: 'Addresses that no rate limit is for: addresses or CIDRs' },
    'IP addresses or CIDR ranges',
    isAddressRange
  ),
  rateLimitFailClosed: list(
    {
      default: ['obtain'],
      about:
        'Limits that answer 503 while Redis does not count; the others are then counted by each worker alone. obtain, refresh, verify, introspect, or none'
    },
    'obtain, refresh, verify, introspect, or none',
    (name) => ['obtain', 'refresh', 'verify', 'introspect', 'none'].includes(name)
  ),
  loginBackoff: boolean({
    default: true,
    defaultText: 'on',
    about:
      'Slows guessing down: ten wrong passwords of an account, then one a minute, but from where its owner has logged in; off turns LOGIN_FAILURES_… off too (docs/logins.md)'
  }),
  loginFailuresAddress: rate({
    default: '100/h',
    about: 'Wrong passwords from one address, of accounts that have not logged in from there'
  }),
  loginFailuresAll: rate({
    default: '600/m',
    about: 'Wrong passwords of all accounts, from addresses from which they have not logged in'
  }),
  forwardedAllowIps: list(
    { default: ['127.0.0.1', '::1'], about: 'Proxies whose X-Forwarded-* is believed: addresses, CIDRs, or *' },
    'IP addresses or CIDR ranges, or *',
    (item) => item === '*' || isAddressRange(item)
  ),

  cookieMode: boolean({
    default: false,
    defaultText: 'off',
    about: 'Browsers: the refresh token travels in an HttpOnly cookie instead of the body'
  }),
  cookieName: text(
    { default: '__Host-refresh', about: 'Name of the refresh cookie' },
    'a cookie name',
    /^[\w!#$%&'*+.^`|~-]+$/
  ),
  cookieDomain: setting<string | undefined>(
    { default: undefined, about: 'Domain of the refresh cookie; only under a name without __Host-' },
    'a domain name of at least two labels, as example.com',
    parseCookieDomain
  ),
  cookieSamesite: choice(['Strict', 'Lax', 'None'], { default: 'Strict', about: 'SameSite of the refresh cookie' }),
  cookieOrigins: origins({ default: [], about: 'Origins, beside our own, whose pages may use the cookie' }),

  corsOrigins: origins({ default: [], about: 'Origins whose pages may call Keyturn, without cookies' }),
  forwardAuthCookie: text(
    { default: undefined, about: 'Name of a cookie in which forward-auth looks for an access token too' },
    'a cookie name',
    /^[\w!#$%&'*+.^`|~-]+$/
  ),
  forwardAuthMaxAge: duration({
    default: '0s',
    min: '0s',
    max: '60s',
    about: 'How long a proxy may keep an answer of forward-auth; a revocation is not seen for so long'
  }),

  metricsToken: text({
    default: undefined,
    secret: true,
    about: 'Bearer token for GET /metrics; without it, it answers on this host only'
  }),

  gracefulTimeout: duration({
    default: '20s',
    min: '1s',
    max: '5m',
    about: 'How long requests in flight may take to finish at a stop'
  }),
  keepalive: duration({ default: '95s', min: '1s', max: '1h', about: 'How long an idle connection is kept' }),
  keepaliveRequests: integer({
    default: 10_000,
    min: 0,
    max: 1_000_000_000,
    about: 'Requests on one connection, the last of which is answered with Connection: close; 0 is no limit'
  }),
  maxConnections: integer({
    default: 10_000,
    min: 1,
    max: 1_000_000,
    about: 'Connections that a worker has at once; one more is closed'
  }),
  maxRevocationStreams: integer({
    default: 256,
    min: 0,
    max: 100_000,
    about: 'Revocation streams that a worker sends to other services at once; one more gets 503'
  }),
  requestTimeout: duration({
    default: '20s',
    min: '1s',
    max: '5m',
    about: 'How long a request may take to arrive, headers and body; one that takes longer is answered 408'
  }),
  bodyLimit: integer({ default: 16_384, min: 1024, max: 1_048_576, about: 'Largest request body, in bytes' }),
  logLevel: choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    about: 'Least level that is logged'
  }),
  logFormat: choice(['json', 'pretty'], {
    default: undefined,
    defaultText: 'pretty on a terminal, otherwise json',
    about: 'Form of the log lines on standard output'
  })
} as const

type ValueOf<S> = S extends Setting<infer T> ? T : never

/** What was configured: frozen, durations in whole seconds. */
export type Config = { readonly [Name in keyof typeof settings]: ValueOf<(typeof settings)[Name]> } & {
  readonly production: boolean
}

export type SettingName = keyof typeof settings

/** accessTokenLifetime -> ACCESS_TOKEN_LIFETIME. */
export const variableOf = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
