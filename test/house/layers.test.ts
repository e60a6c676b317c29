/* Imports point downwards only: the layers of docs/design.md, and within src the modules in the order below. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** The modules of src, each above those that may use it. A file beside the folders is a module too. */
const modules = [
  'hooks',
  'i18n',
  'errors',
  'time',
  'version',
  'timings',
  'activity',
  'event-streams',
  'random',
  'fields',
  'parameters',
  'json',
  'poll',
  'addresses',
  'header-fields',
  'printable',
  'origins',
  'config',
  'tracing',
  'keys',
  'passwords',
  'users',
  'one-time-tokens',
  'clients',
  'audit',
  'limits',
  'sessions',
  'tokens',
  'flows',
  'stores'
]

/** What starts and stops processes: each may import those before it and all else, and no other layer imports it. */
const entryPoints = ['src/app', 'src/cluster', 'src/cli']

/**
 * The modules of which a route may import values: plain functions. What has parts, as flows and stores, arrives on `app`.
 */
const openToRoutes = [
  'errors',
  'activity',
  'version',
  'parameters',
  'time',
  'random',
  'addresses',
  'header-fields',
  'keys',
  'one-time-tokens',
  'clients',
  'audit',
  'sessions',
  'tokens'
]

/** Packages that only some folders may import. */
const homes: readonly (readonly [pkg: RegExp, ...homes: string[]])[] = [
  [/^ioredis$/, 'src/stores/redis'],
  [/^pg$/, 'src/stores/sql'],
  [/^postgrator$/, 'src/stores/sql'],
  [/^@photostructure\/sqlite$/, 'src/stores/embedded'],
  [/^(argon2|bcryptjs|@zxcvbn-ts\/language-common)$/, 'src/passwords'],
  [/^csv-parse$/, 'src/users'],
  [/^@opentelemetry\//, 'src/tracing'],
  [/^(fastify|fastify-plugin|@fastify\/.*)$/, 'routes', 'plugins', ...entryPoints],
  [/^(commander|read)$/, 'src/cli']
]

/** Files that one file alone may import. */
const onlyFor: readonly (readonly [target: string, file: string])[] = [['src/i18n/index.ts', 'plugins/errors.ts']]

interface Import {
  /** From the root, as routes/token/verify.ts. */
  readonly file: string
  /** A package's name, or a file from the root. */
  readonly target: string
  readonly isType: boolean
}

const isIn = (file: string, folder: string): boolean => file === `${folder}.ts` || file.startsWith(`${folder}/`)
const isEntryPoint = (file: string): boolean => entryPoints.some((each) => isIn(file, each))
const entryOf = (file: string): number => entryPoints.findIndex((each) => isIn(file, each))
/** What runs in the operator's browser: a program of its own. */
const isOfPage = (file: string): boolean => file.startsWith('routes/console/')
const layerOf = (file: string): string => {
  if (isEntryPoint(file)) return 'entry'
  return isOfPage(file) ? 'page' : (file.split('/')[0] ?? '')
}
const moduleOf = (file: string): string => (file.split('/')[1] ?? '').replace(/\.ts$/, '')

/** Why an import is not allowed; undefined when it is. */
function offence({ file, target, isType }: Import): string | undefined {
  if (!/^(src|plugins|routes|test|bench)\//.test(target)) return offenceOfPackage(file, target)
  const [from, to] = [layerOf(file), layerOf(target)]
  if (onlyFor.some(([only, owner]) => only === target && owner !== file)) return 'a file of one importer'
  if (to === 'test' || to === 'bench') return 'what ships does not need tests'
  if (from === 'entry') return entryOf(target) > entryOf(file) ? 'up, to another entry point' : undefined
  if (to === 'entry') return 'an entry point'
  if (from === 'page' || to === 'page') return from === to ? undefined : 'the page, or out of it'
  if (from === 'routes') return offenceOfRoute(target, isType)
  if (from === 'plugins' && to === 'routes') return 'up'
  if (from !== 'src') return undefined
  if (to !== 'src') return 'up'
  const [own, other] = [modules.indexOf(moduleOf(file)), modules.indexOf(moduleOf(target))]
  if (own === -1 || other === -1) return 'a module that is not in the table'
  return other > own ? `up, from ${moduleOf(file)} to ${moduleOf(target)}` : undefined
}

function offenceOfPackage(file: string, target: string): string | undefined {
  const folders = homes.find(([name]) => name.test(target))?.slice(1) as readonly string[] | undefined
  return folders === undefined || folders.some((each) => isIn(file, each)) ? undefined : 'a package of another module'
}

function offenceOfRoute(target: string, isType: boolean): string | undefined {
  const to = layerOf(target)
  if (to === 'routes') return isIn(target, 'routes/schemas') ? undefined : 'another route'
  if (isType || (to === 'src' && openToRoutes.includes(moduleOf(target)))) return undefined
  return 'a value that arrives on `app`'
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

const filesOf = (layer: string): string[] =>
  readdirSync(join(root, layer), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => posix.join(layer, name))
    .toSorted()

t.test('every import points downwards', async (t) => {
  const files = ['src', 'plugins', 'routes'].flatMap(filesOf)
  const imports = files.flatMap(importsOf)
  t.ok(files.length > 80 && imports.length > 3 * files.length, `${imports.length} imports in ${files.length} files`)
  const found = imports.flatMap((each) => {
    const reason = offence(each)
    return reason === undefined ? [] : [`${each.file} imports ${each.target}: ${reason}`]
  })
  t.same(found, [])
  const dangling = imports.filter(
    ({ target }) => /^(src|plugins|routes)\//.test(target) && !existsSync(join(root, target))
  )
  t.same(dangling, [], 'every import line was read right')
})

t.test('the table names every module of src', async (t) => {
  const inSrc = new Set(
    filesOf('src')
      .filter((file) => !isEntryPoint(file))
      .map(moduleOf)
  )
  t.same(
    [...inSrc].filter((each) => !modules.includes(each)),
    []
  )
})

t.test('an import that points upwards is found', async (t) => {
  const rows: readonly (readonly [file: string, target: string, answer: string | undefined])[] = [
    ['src/errors.ts', 'src/time.ts', 'up, from errors to time'],
    ['src/tokens/claims.ts', 'src/errors.ts', undefined],
    ['src/sessions/session.ts', 'src/tokens/claims.ts', 'up, from sessions to tokens'],
    ['src/flows/verify.ts', 'src/stores/open.ts', 'up, from flows to stores'],
    ['src/flows/verify.ts', 'plugins/jwt.ts', 'up'],
    ['src/flows/verify.ts', 'src/app.ts', 'an entry point'],
    ['src/flows/verify.ts', 'fastify', 'a package of another module'],
    ['src/flows/verify.ts', 'ioredis', 'a package of another module'],
    ['src/stores/redis/client.ts', 'ioredis', undefined],
    ['src/stores/sql/postgres.ts', 'ioredis', 'a package of another module'],
    ['src/stores/redis/client.ts', 'pg', 'a package of another module'],
    ['src/helpers.ts', 'src/errors.ts', 'a module that is not in the table'],
    ['plugins/stores.ts', 'src/stores/open.ts', undefined],
    ['plugins/stores.ts', 'src/cli/serve.ts', 'an entry point'],
    ['plugins/stores.ts', 'routes/token/verify.ts', 'up'],
    ['plugins/stores.ts', 'ioredis', 'a package of another module'],
    ['routes/token/verify.ts', 'routes/token/refresh.ts', 'another route'],
    ['routes/token/verify.ts', 'routes/schemas/bodies.ts', undefined],
    ['routes/token/verify.ts', 'plugins/jwt.ts', 'a value that arrives on `app`'],
    ['routes/token/verify.ts', 'src/flows/try-each.ts', 'a value that arrives on `app`'],
    ['routes/token/verify.ts', 'src/errors.ts', undefined],
    ['routes/console/main.ts', 'routes/console/api.ts', undefined],
    ['routes/console/main.ts', 'src/errors.ts', 'the page, or out of it'],
    ['routes/console.ts', 'routes/console/api.ts', 'the page, or out of it'],
    ['src/app.ts', 'routes/token/verify.ts', undefined],
    ['plugins/errors.ts', 'src/i18n/index.ts', undefined],
    ['src/errors.ts', 'src/i18n/index.ts', 'a file of one importer'],
    ['src/cli/serve.ts', 'src/app.ts', undefined],
    ['src/cli/serve.ts', 'src/cluster/arbiter.ts', undefined],
    ['src/cluster/child.ts', 'src/cli/terminal.ts', 'up, to another entry point'],
    ['src/cli/serve.ts', 'test/support/app.ts', 'what ships does not need tests']
  ]
  for (const [file, target, answer] of rows)
    t.equal(offence({ file, target, isType: false }), answer, `${file} -> ${target}`)
  t.equal(offence({ file: 'routes/token/verify.ts', target: 'plugins/jwt.ts', isType: true }), undefined, 'types')
})
