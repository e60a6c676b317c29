/* Imports go down, never up: who climbs is named. The floors and the order of the rooms are those of the house's own plan. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** The rooms of src, each above those that may use it. A file beside them is a room too. */
const rooms = [
  'translations',
  'languages',
  'errors',
  'time',
  'random',
  'fields',
  'json',
  'addresses',
  'printable',
  'origins',
  'config',
  'keys',
  'passwords',
  'users',
  'clients',
  'audit',
  'limits',
  'sessions',
  'tokens',
  'flows',
  'stores'
]

/** What starts and stops processes: it may import all, and nobody imports it. */
const staircase = ['src/app', 'src/cli', 'src/cluster']

/** Packages that have one home. */
const homes: readonly (readonly [pkg: RegExp, ...homes: string[]])[] = [
  [/^ioredis$/, 'src/stores/redis'],
  [/^pg$/, 'src/stores/sql'],
  [/^postgrator$/, 'src/stores/sql'],
  [/^@photostructure\/sqlite$/, 'src/stores/embedded'],
  [/^(argon2|bcryptjs|@zxcvbn-ts\/language-common)$/, 'src/passwords'],
  [/^csv-parse$/, 'src/users'],
  [/^(fastify|fastify-plugin|@fastify\/.*)$/, 'routes', 'plugins', ...staircase],
  [/^(commander|read)$/, 'src/cli']
]

interface Import {
  /** From the root, as routes/token/verify.ts. */
  readonly file: string
  /** A package's name, or a file from the root. */
  readonly target: string
  readonly isType: boolean
}

const isIn = (file: string, folder: string): boolean => file === `${folder}.ts` || file.startsWith(`${folder}/`)
const isStairs = (file: string): boolean => staircase.some((each) => isIn(file, each))
const floorOf = (file: string): string => (isStairs(file) ? 'staircase' : (file.split('/')[0] ?? ''))
const roomOf = (file: string): string => (file.split('/')[1] ?? '').replace(/\.ts$/, '')

/** Why an import may not be, in a few words; undefined when it may. */
function climbs({ file, target, isType }: Import): string | undefined {
  const isFile = /^(src|plugins|routes|test|bench)\//.test(target)
  if (!isFile) {
    const home = homes.find(([name]) => name.test(target))
    return home === undefined || home.slice(1).some((each) => isIn(file, each as string))
      ? undefined
      : 'a package of another room'
  }
  const [from, to] = [floorOf(file), floorOf(target)]
  if (from === 'staircase') return to === 'test' || to === 'bench' ? 'what ships needs no tests' : undefined
  if (to === 'staircase') return 'nobody imports the staircase'
  if (from === 'routes' && to === 'routes') return isIn(target, 'routes/schemas') ? undefined : 'another door'
  if (from === 'routes' && to === 'plugins') return isType ? undefined : 'a door gets what plugins make from `app`'
  if (from === 'plugins' && to === 'routes') return 'up'
  if (from === 'src' && to !== 'src') return 'up'
  if (from !== 'src') return undefined
  const [own, other] = [rooms.indexOf(roomOf(file)), rooms.indexOf(roomOf(target))]
  if (own === -1 || other === -1) return 'a room that is not in the plan'
  return other > own ? `up, from ${roomOf(file)} to ${roomOf(target)}` : undefined
}

/** `import … from 'x'`, `export … from 'x'`, `import 'x'` and `import('x')`, at the beginning of a line or inside one. */
const importLine =
  /^(?:import|export)\s+(type\s)?(?:[^'"`;]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)|\bimport\.meta\.resolve\('([^']+)'\)/gms

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8')
  return [...text.matchAll(importLine)].map(([, type, from, called, resolved]) => {
    const name = from ?? called ?? resolved ?? ''
    const isPath = name.startsWith('.')
    const target = isPath ? posix.join(dirname(file), name) : name.replace(/^((?:@[^/]+\/)?[^/]+).*$/, '$1')
    return { file, target: name.startsWith('node:') ? name : target, isType: type !== undefined }
  })
}

const filesOf = (floor: string): string[] =>
  readdirSync(join(root, floor), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => posix.join(floor, name))
    .toSorted()

t.test('nobody climbs', async (t) => {
  const files = ['src', 'plugins', 'routes'].flatMap(filesOf)
  const imports = files.flatMap(importsOf)
  t.ok(files.length > 80 && imports.length > 3 * files.length, `${imports.length} imports in ${files.length} files`)
  const found = imports.flatMap((each) => {
    const reason = climbs(each)
    return reason === undefined ? [] : [`${each.file} imports ${each.target}: ${reason}`]
  })
  t.same(found, [])
  const paths = new Set(files)
  const dangling = imports.filter(({ target }) => /^(src|plugins|routes)\//.test(target) && !paths.has(target))
  t.same(dangling, [], 'every import line was read right')
})

t.test('each floor and room of the plan is there', async (t) => {
  const inSrc = new Set(
    filesOf('src')
      .filter((file) => !isStairs(file))
      .map(roomOf)
  )
  t.same(
    [...inSrc].filter((room) => !rooms.includes(room)),
    [],
    'no room is missing in the plan'
  )
})

t.test('it is seen who climbs', async (t) => {
  const rows: readonly (readonly [file: string, target: string, answer: string | undefined])[] = [
    ['src/errors.ts', 'src/time.ts', 'up, from errors to time'],
    ['src/tokens/claims.ts', 'src/errors.ts', undefined],
    ['src/sessions/session.ts', 'src/tokens/claims.ts', 'up, from sessions to tokens'],
    ['src/flows/verify.ts', 'src/stores/open.ts', 'up, from flows to stores'],
    ['src/flows/verify.ts', 'plugins/jwt.ts', 'up'],
    ['src/flows/verify.ts', 'src/app.ts', 'nobody imports the staircase'],
    ['src/flows/verify.ts', 'fastify', 'a package of another room'],
    ['src/flows/verify.ts', 'ioredis', 'a package of another room'],
    ['src/stores/redis/client.ts', 'ioredis', undefined],
    ['src/stores/sql/postgres.ts', 'ioredis', 'a package of another room'],
    ['src/stores/redis/client.ts', 'pg', 'a package of another room'],
    ['src/helpers.ts', 'src/errors.ts', 'a room that is not in the plan'],
    ['plugins/stores.ts', 'src/stores/open.ts', undefined],
    ['plugins/stores.ts', 'src/cli/serve.ts', 'nobody imports the staircase'],
    ['plugins/stores.ts', 'routes/token/verify.ts', 'up'],
    ['plugins/stores.ts', 'ioredis', 'a package of another room'],
    ['routes/token/verify.ts', 'routes/token/refresh.ts', 'another door'],
    ['routes/token/verify.ts', 'routes/schemas/bodies.ts', undefined],
    ['routes/token/verify.ts', 'plugins/jwt.ts', 'a door gets what plugins make from `app`'],
    ['src/app.ts', 'routes/token/verify.ts', undefined],
    ['src/cli/serve.ts', 'src/app.ts', undefined],
    ['src/cli/serve.ts', 'test/support/app.ts', 'what ships needs no tests']
  ]
  for (const [file, target, answer] of rows)
    t.equal(climbs({ file, target, isType: false }), answer, `${file} -> ${target}`)
  t.equal(climbs({ file: 'routes/token/verify.ts', target: 'plugins/jwt.ts', isType: true }), undefined, 'types only')
})
