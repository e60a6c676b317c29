/** Configurations that are wrong in a known way, generated from a seed. */
import { join } from 'node:path'
import { settings, variableOf } from '../../src/config/settings.ts'

export interface BadConfiguration {
  readonly env: Readonly<Record<string, string>>
  /** The variables that are wrong, each to be named by one fault line. */
  readonly variables: readonly string[]
}

/** In every value that is secret, right or wrong: it must never be printed. */
export const secret = 'hunter2hunter2hunter2'

type Random = () => number

/** Mulberry32: numbers from 0 to 1, the same ones for a seed. */
function makeRandom(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const pick = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random() * items.length)] as T

const junk = [
  ...[
    '-1',
    '0x10',
    '1e9',
    '99999999999999',
    '1.5',
    ' 8',
    'NaN',
    'yes please',
    'null',
    '5 minutes',
    '1w',
    '-5m',
    '%',
    '%s'
  ],
  ...[
    '10/d',
    '/',
    '//',
    '{}',
    '[1]',
    '"x"',
    "'",
    '\u0000',
    'a\nb',
    '\u202e',
    'ä'.repeat(200),
    'a b;c',
    ',',
    '*',
    '=',
    '$(id)'
  ],
  ...['../..', 'http://', 'https://a.example/', 'file:///etc/passwd', 'a'.repeat(5000)]
]

const urls: Readonly<Record<string, readonly string[]>> = {
  DATABASE_URL: [
    `mysql://u:${secret}@h/d`,
    `${secret}`,
    ...[`u:${secret}%@h/d`, `u:${secret}%e4@h/d`, `u:${secret}/@h/d`, `u:${secret}#@h/d`, `u:${secret} @h/d`],
    ...[`u:${secret}@h:99999/d`, `u:${secret}@h:port/d`, `u:${secret}@a,b/d`, `u:${secret}@@h/d`, `u:${secret}@h/d/e`],
    ...['prefer', 'allow', 'verify-ca', '', 'REQUIRE'].map((mode) => `u:${secret}@h/d?sslmode=${mode}`),
    ...['connect_timeout=abc', 'connect_timeout=-1', 'family=6', 'types=x', 'max=9', 'sslrootcert=/none', 'port=0'].map(
      (parameter) => `u:${secret}@h/d?${parameter}`
    )
  ].map((url) => (url.includes('://') || url === secret ? url : `postgres://${url}`)),
  REDIS_URL: [
    `http://:${secret}@h`,
    secret,
    ...[`:${secret}%@h`, `:${secret}%zz@h`, `:${secret}/@h`, `:${secret}@h/abc`, `:${secret}@h/-1`, `:${secret}@h/1/2`],
    ...[
      `:${secret}@h:0`,
      `:${secret}@h:99999`,
      `:${secret}@a,b`,
      `:${secret}@[::g]`,
      `:${secret}@`,
      `:${secret}@h?family=9`
    ],
    ...[`:${secret}@h?tls=on`, `:${secret}@h/0?db=1`, `:${secret}@h#1`, `:${secret}@h name`]
  ].map((url) => (url.includes('://') || url === secret ? url : `redis://${url}`))
}

const others: Readonly<Record<string, readonly string[]>> = {
  SIGNING_KEY: [
    secret,
    `{"kty":"RSA","n":"${secret}"}`,
    `{"keys":[{"k":"${secret}"}]}`,
    `-----BEGIN RSA KEY-----\n${secret}`
  ],
  SIGNING_KEY_PREVIOUS: [secret, `{"kty":"oct","k":7,"x":"${secret}"}`],
  KEY_ENCRYPTION_SECRET: [secret],
  DATA_DIR: ['/dev/null', '/dev/null/below'],
  HOOKS_MODULE: ['/none.mjs', '/', 'none\u0000.mjs'],
  CLAIMS_MODULE: ['/none.mjs', '/dev']
}

/** What a variable does not want; undefined where it takes any text. */
function wrongValue(random: Random, name: string): string | undefined {
  const variable = variableOf(name)
  const given = urls[variable] ?? others[variable]
  if (given !== undefined) return pick(random, given)
  const row = settings[name as keyof typeof settings]
  const wrong = junk.filter((text) => row.parse(text) === undefined)
  return wrong.length === 0 ? undefined : pick(random, wrong)
}

/** What would hide another fault, or be one itself, stays as it is. */
const names = Object.keys(settings).filter((name) => !/Lifetime|Claim$|cookieDomain|pgsslmode|algorithm/i.test(name))

/** Configurations with one to four faults each, for `dataDir`, the same ones for a seed. */
export function badConfigurations(count: number, dataDir: string, seed = 20_261_128): readonly BadConfiguration[] {
  const random = makeRandom(seed)
  const one = (): BadConfiguration => {
    const env: Record<string, string> = { DATA_DIR: dataDir, METRICS_TOKEN: secret }
    const variables: string[] = []
    const wanted = 1 + Math.floor(random() * 4)
    while (variables.length < wanted) {
      const name = pick(random, names)
      const [variable, value] = [variableOf(name), wrongValue(random, name)]
      if (value === undefined || variables.includes(variable)) continue
      if (random() < 0.1) env[`${variable}_FILE`] = join(dataDir, 'none', pick(random, ['a', 'b']))
      else env[variable] = value
      variables.push(variable)
    }
    // Without it a DATABASE_URL would be a second fault.
    if (variables.includes('DATABASE_URL') && !variables.includes('KEY_ENCRYPTION_SECRET'))
      env.KEY_ENCRYPTION_SECRET = secret.repeat(2)
    return { env, variables }
  }
  return Array.from({ length: count }, one)
}
