import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { describeConfig, settingsTable } from '../../../src/config/describe.ts'
import { envFileWarnings } from '../../../src/config/env-file.ts'
import { ConfigError, type Environment, loadConfig, loadServiceConfig } from '../../../src/config/load.ts'
import { explainAdoption } from '../../../src/tokens/adoption.ts'
import { parsePostgresUrl } from '../../../src/config/postgres-address.ts'
import { parseRedisUrl } from '../../../src/config/redis-address.ts'
import { type Config, settings, variableOf } from '../../../src/config/settings.ts'

/** The fault lines of a configuration; none when it is good. */
function faultsOf(env: Environment, ...checks: Parameters<typeof loadConfig>[1][]): readonly string[] {
  try {
    loadConfig(env, ...checks)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

t.test('nothing set is a configuration', async (t) => {
  const config = loadConfig({})
  t.match(config, {
    port: 8000,
    host: '127.0.0.1',
    databaseUrl: undefined,
    accessTokenLifetime: 300,
    refreshTokenLifetime: 86_400,
    sessionAbsoluteLifetime: 2_592_000,
    refreshReuseGrace: 10,
    rotateRefreshTokens: true,
    audience: [],
    authHeaderTypes: ['Bearer'],
    rateLimitObtain: { requests: 20, window: 60 },
    rateLimitVerify: null,
    production: false
  })
  t.ok(Object.isFrozen(config))
  t.same(loadConfig({ PORT: '', SIGNING_KEY: '', DATABASE_URL_FILE: '' }), config, 'what is empty is absent')
  t.match(loadConfig({ NODE_ENV: 'production' }), { production: true, host: '0.0.0.0' })
  t.equal(loadConfig({ NODE_ENV: 'production', HOST: '10.0.0.1' }).host, '10.0.0.1')
})

t.test('three faults are three lines, each with its variable, what it got and what it wants', async (t) => {
  const error = t.throws(() => loadConfig({ PORT: '80000', ACCESS_TOKEN_LIFETIME: '5 minutes', LOG_LEVEL: 'loud' }))
  t.match(error, { name: 'ConfigError', message: /^PORT: .*\n.*\n.*$/ })
  t.same((error as ConfigError).faults, [
    'PORT: got "80000", expected an integer from 0 to 65535.',
    'ACCESS_TOKEN_LIFETIME: got "5 minutes", expected a duration from 1s to 1d, in seconds or in a form such as 30s, 5m, 12h, 1d.',
    'LOG_LEVEL: got "loud", expected one of fatal, error, warn, info, debug, trace, silent.'
  ])
})

t.test('ADOPT_REFRESH_TOKENS is off, on, or has an end', async (t) => {
  const SIGNING_KEY = 'x'.repeat(32)
  const read = (value: string) => loadConfig({ SIGNING_KEY, ADOPT_REFRESH_TOKENS: value })
  const shown = (value: string) => /^ADOPT_REFRESH_TOKENS=(.*)$/m.exec(describeConfig(read(value)))?.[1]
  for (const off of ['', 'off', 'false', '0']) t.equal(read(off).adoptRefreshTokens, null, off)
  for (const on of ['on', 'True', '1']) t.equal(shown(on), 'on')
  t.equal(shown('until 2026-12-31'), 'until 2026-12-31T23:59:59Z', 'the whole day')
  t.equal(shown('UNTIL 2024-02-29T12:00:00z'), 'until 2024-02-29T12:00:00Z')
  t.equal(shown('off'), 'off')
  for (const wrong of ['2026-12-31', 'until', 'until tomorrow', 'until 2026-02-31', 'until 2026-12-31T24:00', 'yes'])
    t.match(
      faultsOf({ SIGNING_KEY, ADOPT_REFRESH_TOKENS: wrong }),
      [/^ADOPT_REFRESH_TOKENS: got .*until 2026-12-31/],
      wrong
    )
})

t.test('what ADOPT_REFRESH_TOKENS means is explained with its risk and its end', async (t) => {
  const SIGNING_KEY = 'x'.repeat(32)
  const explain = (env: Environment, now = '2026-12-01T00:00:00Z') =>
    explainAdoption(loadConfig(env), Date.parse(now) / 1000)
  t.match(explain({ SIGNING_KEY }), { isOn: false, explanation: /not adopted: ADOPT_REFRESH_TOKENS is off/ })
  t.match(explain({ ADOPT_REFRESH_TOKENS: 'on' }), { isOn: false, explanation: /SIGNING_KEY_PREVIOUS are not set/ })
  const on = { SIGNING_KEY, ADOPT_REFRESH_TOKENS: 'on' }
  t.match(explain(on), { isOn: true, explanation: /without a time limit .* can log in as any user$/ })
  const ending = { SIGNING_KEY, ADOPT_REFRESH_TOKENS: 'until 2026-12-31', REFRESH_TOKEN_LIFETIME: '14d' }
  t.match(explain(ending), { isOn: true, explanation: /until 2027-01-14T23:59:59Z, anyone .* as any user$/ })
  t.match(explain(ending, '2027-01-15T00:00:00Z'), { isOn: false, explanation: /no longer adopted since 2027-01-14/ })
})

t.test('each bound: the last good value, and the first bad one', async (t) => {
  const bounds: readonly (readonly [string, good: readonly string[], bad: readonly string[]])[] = [
    ['PORT', ['0', '65535'], ['65536', '-1', '1.5', '0x10', ' 80']],
    ['MANAGEMENT_PORT', ['0', '65535'], ['65536', 'off']],
    ['BACKLOG', ['1', '65535'], ['0', '65536']],
    ['WEB_CONCURRENCY', ['1', '256'], ['0', '257', 'auto', '1.5']],
    ['HASHERS', ['1', '256'], ['0', '257']],
    ['TIMEOUT', ['0', '1h'], ['3601', '-1']],
    ['MAX_REQUESTS', ['0', '1000000000'], ['1000000001']],
    ['MAX_REQUESTS_JITTER', ['0', '1000000000'], ['1000000001']],
    ['SHUTDOWN_DELAY', ['0', '5m'], ['301']],
    ['ACCESS_TOKEN_LIFETIME', ['1', '1s', '86400', '24h', '1d'], ['0', '86401', '25h', '1w', '-5', '1e3']],
    ['REFRESH_TOKEN_LIFETIME', ['5m', '30d'], ['0', '366d']],
    ['SESSION_ABSOLUTE_LIFETIME', ['1d', '3650d'], ['0', '3651d']],
    ['MAX_SESSIONS_PER_USER', ['1', '10000'], ['0', '10001']],
    ['REFRESH_REUSE_GRACE', ['0', '60', '1m'], ['61']],
    ['REFRESH_LATE_RETRY', ['0', '1d', '365d'], ['366d', '-1']],
    ['LEEWAY', ['0', '5m'], ['301']],
    ['KEY_ROTATION_INTERVAL', ['1m', '3650d'], ['59', '3651d']],
    ['JWKS_MAX_AGE', ['1', '1d'], ['0', '25h']],
    ['TOKEN_PROFILE', ['simplejwt'], ['jwt']],
    ['REVOCATION_STALENESS', ['2', '5m'], ['1', '301']],
    ['ARGON2_MEMORY', ['8192', '1048576'], ['8191', '1048577']],
    ['ARGON2_TIME', ['1', '64'], ['0', '65']],
    ['ARGON2_PARALLELISM', ['1', '16'], ['0', '17']],
    ['PASSWORD_REHASH', ['argon2id', 'Django', 'never'], ['bcrypt', 'always']],
    ['HASH_QUEUE', ['1', '10000'], ['0', '10001']],
    ['PASSWORD_MIN_LENGTH', ['1', '128'], ['0', '129']],
    ['PASSWORD_REFUSE_COMMON', ['off'], ['8']],
    ['GRACEFUL_TIMEOUT', ['1', '5m'], ['0', '301']],
    ['KEEPALIVE', ['1', '1h'], ['0', '3601']],
    ['KEEPALIVE_REQUESTS', ['0', '1000000000'], ['1000000001', 'off']],
    ['MAX_CONNECTIONS', ['1', '1000000'], ['0', '1000001']],
    ['REQUEST_TIMEOUT', ['1', '5m'], ['0', '301']],
    ['BODY_LIMIT', ['1024', '1048576'], ['1023', '1048577']],
    ['RATE_LIMIT_OBTAIN', ['off', '1/s', '100/m', '999999999/h'], ['0/m', '5', '5/d', '-1/s', '20/minute']],
    ['RATE_LIMIT_REFRESH', ['5/s'], ['5/']],
    ['RATE_LIMIT_VERIFY', ['OFF'], ['on']],
    ['RATE_LIMIT_INTROSPECT', ['100/s'], ['100']],
    ['RATE_LIMIT_ALLOW', ['10.0.0.0/8, 2001:db8::/32', '192.0.2.1'], ['*', '10.0.0.0/33', 'localhost']],
    ['RATE_LIMIT_FAIL_CLOSED', ['none', 'obtain', 'refresh,verify introspect'], ['login', 'Obtain', 'all']],
    ['LOGIN_BACKOFF', ['on', 'OFF'], ['5/m']],
    ['LOGIN_FAILURES_ADDRESS', ['off', '100/h'], ['100']],
    ['LOGIN_FAILURES_ALL', ['off', '10/s'], ['0/s']],
    ['FORWARD_AUTH_MAX_AGE', ['0', '60s'], ['61']],
    ['FORWARD_AUTH_COOKIE', ['access', '__Host-access'], ['a b', 'a=b']],
    [
      'DATABASE_URL',
      [
        'postgres://h/d',
        'postgresql://h/d',
        'postgres://u:p%25%40@[::1]:5432/d',
        'postgres://u@/d?host=/run/postgresql',
        'postgres:///d',
        'postgres://h/d?sslmode=verify-full&connect_timeout=10&application_name=a%20b',
        'postgres://h/d?ssl=true&options=-c%20search_path%3Da'
      ],
      ['mysql://h/d', 'h/d']
    ],
    ['DATABASE_POOL', ['1', '100'], ['0', '101']],
    [
      'REDIS_URL',
      [
        'redis://h',
        'rediss://:p%25w@h:6380/15',
        'redis://h/0?family=6',
        'redis://[::1]?db=3&family=0',
        'redis:///run/redis.sock?db=1',
        'redis+sentinel://a,b:26380/master/2',
        'rediss+cluster://u:p@a,b/0'
      ],
      ['http://h', 'redis:h']
    ],
    ['REDIS_TLS_VERIFY', ['true', 'False', '1', '0', 'on', 'off'], ['yes', 'no', '2']],
    ['ROTATE_REFRESH_TOKENS', ['false'], ['f']],
    ['BLACKLIST_AFTER_ROTATION', ['false'], ['f']],
    ['ALGORITHM_PREVIOUS', ['HS256', 'es256'], ['none']],
    ['ADOPT_REFRESH_TOKENS', ['on', 'false'], ['once']],
    ['USERS_TABLE', ['auth_user', 'shop.user', 'Nutzer_ä'], ['a b', 'a.b.c', '1a', 'a;b', '"a"']],
    ['USERS_COLUMNS', ['id=uuid', 'username=email, last_login=seen'], ['uuid', 'email=x', 'id=a b', 'id=']],
    ['CONSOLE', ['on', 'OFF'], ['console']],
    ['COOKIE_MODE', ['on', 'off'], ['cookie']],
    ['PGSSLMODE', ['disable', 'require', 'no-verify', 'verify-full'], ['prefer', 'allow', 'true']],
    ['ALGORITHM', ['HS256', 'es256', 'EdDSA'], ['none', 'HS1', 'RS256,HS256']],
    [
      'COOKIE_DOMAIN',
      ['example.com', '.example.com', 'Id.Example.co.uk', 'bücher.example'],
      [
        'com',
        'localhost',
        '127.0.0.1',
        '[::1]',
        'https://example.com',
        'example.com:443',
        'a b.com',
        'a;b.com',
        'a..com'
      ]
    ],
    ['COOKIE_SAMESITE', ['Strict', 'lax', 'None'], ['loose']],
    ['COOKIE_NAME', ['refresh', '__Host-refresh'], ['a b', 'a;b', 'a=b']],
    [
      'COOKIE_ORIGINS',
      ['https://a.example', 'http://localhost:3000, https://b.example', 'ionic://localhost', 'HTTPS://a.example:443'],
      ['a.example', 'https://a.example/', '*', 'https://*.a.example', 'null', 'https://', 'https://u@a.example']
    ],
    ['CORS_ORIGINS', ['https://a.example', 'http://localhost:3000'], ['*', 'a.example', 'https://a.example/']],
    ['AUTH_HEADER_TYPES', ['Bearer', 'Bearer,JWT', 'Bearer JWT'], [',', 'Bea:rer']],
    [
      'FORWARDED_ALLOW_IPS',
      ['*', '10.0.0.0/8', '::1, fd00::/8', '127.0.0.1/32', '::/0'],
      ['10.0.0.0/33', 'fd00::/129', '10.0.0', 'example.com', '10.0.0.0/8/8', '10.0.0.0/']
    ],
    ['USER_ID_FIELD', ['id', 'Username'], ['email', 'ID field']],
    [
      'USER_ID_CLAIM',
      ['sub', 'uid', 'https://example.com/user-id'],
      ['none', 'sid', 'exp', 'a b', '_id', 'constructor']
    ],
    ['TOKEN_TYPE_CLAIM', ['typ', 'none', `x${'y'.repeat(99)}`], ['sub', 'gen', `x${'y'.repeat(100)}`]],
    ['JTI_CLAIM', ['id', 'none'], ['iat', 'client_id', 'é']],
    ['CHECK_USER_IS_ACTIVE', ['false'], ['no']],
    ['UPDATE_LAST_LOGIN', ['true'], ['yes']],
    ['CHECK_REVOKE_TOKEN', ['on'], ['y']],
    ['REVOKE_TOKEN_CLAIM', ['pw'], ['none', 'aud']],
    ['SLIDING_TOKENS', ['true'], ['yes']],
    ['MAX_REVOCATION_STREAMS', ['0', '100000'], ['100001', '-1']],
    ['SLIDING_TOKEN_LIFETIME', ['1', '365d'], ['0', '366d']],
    ['SLIDING_TOKEN_REFRESH_LIFETIME', ['1', '365d'], ['0', '366d']],
    ['SLIDING_TOKEN_REFRESH_EXP_CLAIM', ['until'], ['none', 'exp']],
    ['LOG_LEVEL', ['silent', 'TRACE'], ['loud']],
    ['LOG_FORMAT', ['json', 'Pretty'], ['text']],
    ['KEY_ENCRYPTION_SECRET', ['x'.repeat(32)], ['x'.repeat(31)]]
  ]
  const others: Environment = {
    KEY_ENCRYPTION_SECRET: 'x'.repeat(32),
    DATABASE_URL: 'postgres://h/d',
    SESSION_ABSOLUTE_LIFETIME: '30d',
    REFRESH_TOKEN_LIFETIME: '1d',
    COOKIE_NAME: 'refresh'
  }
  for (const [variable, good, bad] of bounds) {
    for (const value of good) t.same(faultsOf({ ...others, [variable]: value }), [], `${variable}=${value}`)
    for (const value of bad) {
      const faults = faultsOf({ ...others, [variable]: value })
      t.match(faults, [new RegExp(`^${variable}: got .*, expected .*\\.$`)], `${variable}=${value}`)
      t.equal(faults.length, 1)
    }
  }
  const tried = new Set(bounds.map(([variable]) => variable))
  const untried = Object.entries(settings).filter(([name]) => !tried.has(variableOf(name)))
  for (const [name, { wants }] of untried)
    t.match(wants, /^(a string|one or more strings)$/, `${name} has no bound to try`)
})

t.test('a URL that its driver would misread is refused in one line, which holds no part of it', async (t) => {
  const secret = 'hunter2'
  const folder = t.testdir({ garbage: 'not a certificate' })
  execFileSync('mkfifo', [join(folder, 'pipe')])
  for (const [variable, url, fault] of [
    ['REDIS_URL', `redis://:${secret}%@h`, 'a percent sign in it is written %25'],
    ['REDIS_URL', `redis://:${secret}%e4@h`, 'a percent sign in it is written %25'],
    ['REDIS_URL', `redis://:${secret}/x@h`, 'percent-encoded'],
    ['REDIS_URL', `redis://:${secret}#@h`, 'percent-encoded'],
    ['REDIS_URL', `redis://:${secret}@h/abc`, 'expected the database as a number'],
    ['REDIS_URL', `redis://:${secret}@h/1/2`, 'expected /db and nothing after it'],
    ['REDIS_URL', `redis://:${secret}@h?family=5`, 'expected family=4, family=6'],
    ['REDIS_URL', `redis://:${secret}@h?timeout=5`, 'got the parameter timeout'],
    ['REDIS_URL', `redis://:${secret}@h/1?db=1`, 'not both'],
    ['REDIS_URL', `redis://:${secret}@h:65536`, 'a port from 1 to 65535'],
    ['REDIS_URL', `redis://:${secret}@h:0`, 'a port from 1 to 65535'],
    ['REDIS_URL', `redis://:${secret}@h,i`, 'several hosts, expected one'],
    ['REDIS_URL', `redis://:${secret}@[::g]`, 'expected hosts as'],
    ['REDIS_URL', `redis+sentinel://:${secret}@/master`, 'expected hosts as'],
    ['REDIS_URL', `redis+cluster://:${secret}@h/1`, 'a Cluster does not have'],
    ['REDIS_URL', `rediss://:${secret}@/run/redis.sock`, 'expected redis:// for a Unix socket'],
    ['DATABASE_URL', `postgres://u:${secret}%@h/d`, 'a percent sign in a password is written %25'],
    ['DATABASE_URL', `postgres://u:${secret}%e4@h/d`, 'a percent sign in a password is written %25'],
    ['DATABASE_URL', `postgres://u:${secret} x@h/d`, 'a space in it as %20'],
    ['DATABASE_URL', `postgres://u:${secret}#@h/d`, 'expected it as %23'],
    ['DATABASE_URL', `postgres://u:${secret}/@h/d`, 'expected one in a password as %2F'],
    ['DATABASE_URL', `postgres://u:${secret}@@h/d`, 'expected one in a password as %40'],
    ['DATABASE_URL', `postgres://u:${secret}@h:65536/d`, 'expected postgres://'],
    ['DATABASE_URL', `postgres://u:${secret}@h,i/d`, 'several hosts'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d/e`, 'expected /database'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?sslmode=prefer`, 'expected one of disable, require'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?sslmode=allow`, 'expected one of disable, require'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?sslmode=verify-ca`, 'expected sslrootcert=FILE'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?sslmode=require&sslmode=disable`, 'twice'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?sslrootcert=${folder}/none`, 'sslrootcert .* \\(ENOENT\\)'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?sslrootcert=${folder}/pipe`, 'sslrootcert .* \\(not a file\\)'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?sslrootcert=${folder}/garbage`, 'to be PEM files'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?sslcert=${folder}/garbage`, 'expected sslcert and sslkey together'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?sslnegotiation=direct`, 'expected an sslmode that encrypts'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?connect_timeout=abc`, 'seconds from 1 to 60'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?connect_timeout=0`, 'seconds from 1 to 60'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?types=1`, 'got the parameter types'],
    ['DATABASE_URL', `postgres://u:${secret}@h/d?${secret}%00=1`, 'with an unreadable name']
  ] as const) {
    const faults = faultsOf({ KEY_ENCRYPTION_SECRET: 'x'.repeat(32), [variable]: url })
    t.match(faults, [new RegExp(`^${variable}: [^\n]*${fault}[^\n]*\\.$`)], url)
    t.equal(faults.length, 1, url)
    t.notMatch(faults.join(), secret)
  }
  const database = { KEY_ENCRYPTION_SECRET: 'x'.repeat(32), DATABASE_URL: 'postgres://h/d' }
  t.match(faultsOf({ ...database, PGSSLMODE: 'verify-ca' }), [/^DATABASE_URL: got sslmode=verify-ca/])
  const refused = { ...database, DATABASE_URL: 'postgres://h/d?sslmode=prefer' }
  t.same(faultsOf({ ...refused, PGSSLMODE: 'require' }), [], 'PGSSLMODE outweighs it')
  t.match(parsePostgresUrl('postgres://h/d?ssl=0'), { connectionString: /&sslmode=disable&/ })
  t.match(parsePostgresUrl('postgres://h/d?ssl=1&connect_timeout=7'), {
    connectionString: /&sslmode=verify-full&/,
    connectTimeout: 7
  })
  t.match(parseRedisUrl('redis://:p%25w@h/3?family=IPv6'), { password: 'p%w', db: 3, family: 6 })
})

t.test('a file or folder that cannot be used is refused, and none is created', async (t) => {
  const folder = t.testdir({ file: '', rules: { 'hooks.mjs': 'export const claims = () => ({})' } })
  t.same(faultsOf({ DATA_DIR: join(folder, 'a/b/c'), HOOKS_MODULE: join(folder, 'rules/hooks.mjs') }), [])
  t.notOk(existsSync(join(folder, 'a')))
  t.match(faultsOf({ DATA_DIR: join(folder, 'file') }), [
    /^DATA_DIR: got ".*", expected a folder .* \(not a folder\)\.$/
  ])
  t.match(faultsOf({ DATA_DIR: join(folder, 'file/below') }), [/^DATA_DIR: .* expected a folder/])
  t.match(faultsOf({ HOOKS_MODULE: join(folder, 'none.mjs') }), [/^HOOKS_MODULE: .* \(ENOENT\)\.$/])
  t.match(faultsOf({ CLAIMS_MODULE: folder }), [/^CLAIMS_MODULE: .* \(not a file\)\.$/])
})

t.test('ENV_FILE: quotes, comments, a byte order mark and export mean what they mean to node --env-file', async (t) => {
  const folder = t.testdir()
  const write = (content: string | Buffer): string => {
    writeFileSync(join(folder, 'env'), content)
    return join(folder, 'env')
  }
  const lines = [
    'export PORT=81 # the port',
    'ISSUER="https://a.example/#top" # quoted',
    "METRICS_TOKEN='a # b'",
    'SIGNING_KEY="first\\nsecond"',
    '# LEEWAY=5m',
    '  DATA_DIR = ./d  '
  ]
  for (const separator of ['\n', '\r\n']) {
    t.match(loadConfig({ ENV_FILE: write(`\uFEFF${lines.join(separator)}`) }), {
      port: 81,
      issuer: 'https://a.example/#top',
      metricsToken: 'a # b',
      signingKey: 'first\nsecond',
      leeway: 0,
      dataDir: './d'
    })
  }
  const faults = faultsOf({ ENV_FILE: write('PORT=81\nMETRICS_TOKEN=hunter2#rest\n') })
  t.same(faults, ['ENV_FILE: METRICS_TOKEN in line 2 has a # in its value, expected the value in quotes.'])
  for (const bytes of [
    Buffer.from('\uFEFFPORT=81', 'utf16le'),
    Buffer.from('PORT=81', 'utf16le'),
    Buffer.from([0xff])
  ]) {
    t.match(faultsOf({ ENV_FILE: write(bytes) }), [/^ENV_FILE: got ".*", expected a text file in UTF-8/])
    t.match(faultsOf({ PORT_FILE: write(bytes) }), [/^PORT_FILE: got ".*", expected a text file in UTF-8/])
  }
  t.equal(loadConfig({ PORT_FILE: write('\uFEFF81\n') }).port, 81)
  const unreadable = { KEY_ENCRYPTION_SECRET_FILE: '/none', DATABASE_URL: 'postgres://u@h/d' }
  t.match(
    faultsOf(unreadable),
    [/^KEY_ENCRYPTION_SECRET_FILE: got "\/none", expected a file/],
    'and not that it is not set'
  )
})

t.test('ENV_FILE: a name that is not a setting is a warning with the nearest name', async (t) => {
  const folder = t.testdir({
    env: 'ACESS_TOKEN_LIFETIME=1m\nport_=1\nPROT=1\nSMTP_RELAY=x\nPORT_FILE=\nNODE_ENV=test\nOTEL_SERVICE_NAME=auth\n'
  })
  t.same(envFileWarnings({ ENV_FILE: join(folder, 'env') }).toSorted(), [
    'ENV_FILE: "ACESS_TOKEN_LIFETIME" is not a setting and is ignored (did you mean ACCESS_TOKEN_LIFETIME?)',
    'ENV_FILE: "PROT" is not a setting and is ignored (did you mean PORT?)',
    'ENV_FILE: "SMTP_RELAY" is not a setting and is ignored',
    'ENV_FILE: "port_" is not a setting and is ignored (did you mean PORT?)'
  ])
  t.same(envFileWarnings({}), [])
})

t.test('ENV_FILE: a line that is ignored is a warning with its number, without its text', async (t) => {
  const folder = t.testdir({
    lines:
      '# a comment\nPORT: 18778\n\nexport LEEWAY=1\nSIGNING_KEY="first\nsecond: hunter2\nthird" # quoted\n  hunter2\nHOST=h\n',
    export: 'export LEEWAY=1\nexport\tPORT=81\nexport  HOST=h\n',
    windows: 'PORT=81\r\nHOST=h\r\n',
    mac: 'PORT=81\rHOST=h\r'
  })
  t.same(envFileWarnings({ ENV_FILE: join(folder, 'lines') }), [
    'ENV_FILE: line 2 is not NAME=value: it is ignored, and the line after it may be too',
    'ENV_FILE: line 8 is not NAME=value: it is ignored, and the line after it may be too'
  ])
  t.same(
    envFileWarnings({ ENV_FILE: join(folder, 'export') }),
    [2, 3].map((line) => `ENV_FILE: line ${line} is not NAME=value: it is ignored, and the line after it may be too`),
    'parseEnv knows export with one space'
  )
  t.same(envFileWarnings({ ENV_FILE: join(folder, 'windows') }), [])
  t.match(envFileWarnings({ ENV_FILE: join(folder, 'mac') }), [/^ENV_FILE: has a carriage return within a line/])
})

t.test('equal ports, a folder of the kernel, and the null character in a URL are refused', async (t) => {
  t.same(faultsOf({ PORT: '81', MANAGEMENT_PORT: '81' }), [
    'MANAGEMENT_PORT: got 81, which is PORT, expected another port.'
  ])
  t.same(faultsOf({ PORT: '0', MANAGEMENT_PORT: '0' }), [], 'two free ports')
  if (existsSync('/proc/self'))
    t.match(faultsOf({ DATA_DIR: '/proc/x' }), [/^DATA_DIR: got "\/proc\/x", expected a folder/])
  const secrets = { KEY_ENCRYPTION_SECRET: 'x'.repeat(32) }
  for (const url of ['postgres://h/k%00t', 'postgres://u:p%00@h/d'])
    t.match(faultsOf({ ...secrets, DATABASE_URL: url }), [/^DATABASE_URL: got %00, expected text without the null/])
  for (const url of ['redis://u%00:p@h', 'redis://:p%00@h/1', 'redis:///socket%00'])
    t.match(faultsOf({ REDIS_URL: url }), [/^REDIS_URL: got %00, expected text without the null/])
})

t.test('what does not go together', async (t) => {
  const key = 'KEY_ENCRYPTION_SECRET: not set'
  t.match(faultsOf({ DATABASE_URL: 'postgres://h/d' }), [new RegExp(`^${key}`)])
  t.same(faultsOf({ DATABASE_URL: 'postgres://h/d', SIGNING_KEY: 'x' }), [])
  t.match(faultsOf({ DATABASE_URL: 'postgres://h/d', KEY_ENCRYPTION_SECRET: 'short' }), [
    /^KEY_ENCRYPTION_SECRET: got a value of 5 char/
  ])
  t.match(faultsOf({ SESSION_ABSOLUTE_LIFETIME: '59m', REFRESH_TOKEN_LIFETIME: '1h' }), [
    /^SESSION_ABSOLUTE_LIFETIME: shorter/
  ])
  t.same(faultsOf({ SESSION_ABSOLUTE_LIFETIME: '1h', REFRESH_TOKEN_LIFETIME: '1h' }), [])
  t.match(faultsOf({ ACCESS_TOKEN_LIFETIME: '61m', REFRESH_TOKEN_LIFETIME: '1h' }), [
    /^ACCESS_TOKEN_LIFETIME: longer than REFRESH_TOKEN_LIFETIME/
  ])
  t.same(faultsOf({ ACCESS_TOKEN_LIFETIME: '1h', REFRESH_TOKEN_LIFETIME: '1h' }), [])
  const sliding = { SLIDING_TOKEN_REFRESH_LIFETIME: '2d', SESSION_ABSOLUTE_LIFETIME: '1d' }
  t.match(faultsOf({ ...sliding, SLIDING_TOKENS: 'true' }), [
    /^SESSION_ABSOLUTE_LIFETIME: shorter than SLIDING_TOKEN_REFRESH_LIFETIME/
  ])
  t.same(faultsOf(sliding), [])
  for (const COOKIE_NAME of ['__Host-refresh', '__host-refresh'])
    t.match(faultsOf({ COOKIE_DOMAIN: 'example.com', COOKIE_NAME }), [/^COOKIE_DOMAIN: set/])
  t.same(faultsOf({ COOKIE_DOMAIN: 'example.com', COOKIE_NAME: 'refresh' }), [])
  t.match(faultsOf({ USER_ID_CLAIM: 'token_type', TOKEN_TYPE_CLAIM: 'none' }), [
    'USER_ID_CLAIM: got "token_type", expected a claim name that is not in use.'
  ])
  t.same(faultsOf({ USER_ID_CLAIM: 'jti', JTI_CLAIM: 'user_id' }), [])
  const check = (config: Config) => [`HOST: got ${config.host}.`, 'PORT: mine.']
  t.match(faultsOf({ PORT: 'x' }, check), [/^PORT: got/, 'HOST: got 127.0.0.1.'], 'each variable is reported once')
})

t.test('a value may come by a file', async (t) => {
  const folder = t.testdir({ key: 'from the file\r\n', two: 'first\nsecond\n\n' })
  t.equal(loadConfig({ SIGNING_KEY_FILE: join(folder, 'key') }).signingKey, 'from the file')
  t.equal(
    loadConfig({ SIGNING_KEY_FILE: join(folder, 'two') }).signingKey,
    'first\nsecond\n',
    'one newline is the file’s'
  )
  t.match(faultsOf({ SIGNING_KEY_FILE: join(folder, 'key'), SIGNING_KEY: 'x' }), [
    /^SIGNING_KEY_FILE: SIGNING_KEY is also set/
  ])
  t.match(faultsOf({ SIGNING_KEY_FILE: join(folder, 'none') }), [
    /^SIGNING_KEY_FILE: got ".*none", expected .* \(ENOENT\)\.$/
  ])
  writeFileSync(join(folder, 'port'), '80')
  t.equal(loadConfig({ PORT_FILE: join(folder, 'port') }).port, 80)

  writeFileSync(
    join(folder, 'env'),
    `# ours\nPORT=81\nNODE_ENV="production"\nLEEWAY=\nSIGNING_KEY_FILE=${join(folder, 'key')}`
  )
  const ENV_FILE = join(folder, 'env')
  t.match(loadConfig({ ENV_FILE }), { port: 81, production: true, leeway: 0, signingKey: 'from the file' })
  t.equal(loadConfig({ ENV_FILE, PORT: '82' }).port, 82, 'the environment wins')
  t.match(faultsOf({ ENV_FILE: join(folder, 'none') }), [/^ENV_FILE: got ".*none", expected .* \(ENOENT\)\.$/])
})

t.test('a service of several processes refuses a file that only one of them can read', async (t) => {
  const folder = t.testdir({ key: 'k'.repeat(64) })
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const wants = 'expected a regular file, since each process of the service reads it.'
  const refused = (env: Environment, ...faults: readonly string[]) =>
    t.throws(() => loadServiceConfig(env), { name: 'ConfigError', message: faults.join('\n') })
  for (const file of [pipe, '/dev/stdin', '/dev/fd/63']) {
    refused({ ENV_FILE: file }, `ENV_FILE: got "${file}", ${wants}`)
    refused({ SIGNING_KEY_FILE: file }, `SIGNING_KEY_FILE: got "${file}", ${wants}`)
  }
  writeFileSync(join(folder, 'env'), `METRICS_TOKEN_FILE=${pipe}\nSIGNING_KEY_FILE=${join(folder, 'key')}\n`)
  refused({ ENV_FILE: join(folder, 'env') }, `METRICS_TOKEN_FILE: got "${pipe}", ${wants}`)
  const env = { ENV_FILE: join(folder, 'env'), METRICS_TOKEN_FILE: '' }
  t.same(loadServiceConfig(env), loadConfig(env))
  t.throws(() => loadServiceConfig({ ENV_FILE: join(folder, 'none') }), { message: /\(ENOENT\)\.$/ })
  t.throws(() => loadServiceConfig({ PORT: 'x', PORT_FILE: '' }), { message: /^PORT: got "x"/ })
})

t.test('a secret is never printed', async (t) => {
  const secret = 'hunter2'
  const env = {
    DATABASE_URL: `mysql://u:${secret}@h/d`,
    REDIS_URL: `http://:${secret}@h`,
    KEY_ENCRYPTION_SECRET: secret,
    SIGNING_KEY: secret
  }
  const faults = faultsOf(env).join('\n')
  t.match(faults, /DATABASE_URL: got a value of \d+ characters/)
  t.notMatch(faults, secret)
  const config = loadConfig({
    DATABASE_URL: `postgres://u:${secret}@h/d`,
    REDIS_URL: `redis://:${secret}@h`,
    KEY_ENCRYPTION_SECRET: secret.repeat(5),
    SIGNING_KEY: secret,
    AUDIENCE: 'a b',
    RATE_LIMIT_OBTAIN: 'off'
  })
  const described = describeConfig(config)
  t.notMatch(described, secret)
  t.match(described, /^SIGNING_KEY=\(set\)$/m)
  t.match(described, /^AUDIENCE=a,b$/m)
  t.match(described, /^RATE_LIMIT_OBTAIN=off$/m)
  t.match(described, /^ISSUER=$/m)
  t.equal(described.split('\n').length, Object.keys(settings).length)
})

t.test('the console is on if CONSOLE says so, and otherwise with MANAGEMENT_PORT', async (t) => {
  for (const [env, isOn] of [
    [{}, false],
    [{ CONSOLE: 'on' }, true],
    [{ MANAGEMENT_PORT: '9000' }, true],
    [{ MANAGEMENT_PORT: '9000', CONSOLE: 'on' }, true],
    [{ MANAGEMENT_PORT: '9000', CONSOLE: 'off' }, false]
  ] as const) {
    const config = loadConfig(env)
    t.equal(config.console, isOn, JSON.stringify(env))
    t.match(describeConfig(config), new RegExp(`^CONSOLE=${isOn}$`, 'm'), 'check-config --print shows it')
  }
})

t.test('the table of the documentation has a row a setting', async (t) => {
  const rows = settingsTable().split('\n').slice(2)
  t.equal(rows.length, Object.keys(settings).length)
  t.match(rows[1], /^\| `HOST` \| 127\.0\.0\.1 \(0\.0\.0\.0 in production\) \| Address to listen on \| a string \|$/)
  for (const row of rows) t.equal(row.split('|').length, 6, row)
})
