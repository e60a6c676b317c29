/* Documents that can go stale are compared: settings and endpoints with their pages, Redis scripts with their headers. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { settingsTable } from '../../src/config/describe.ts'
import { settings, variableOf } from '../../src/config/settings.ts'
import type { Connection } from '../../src/stores/redis/client.ts'
import { defineScripts } from '../../src/stores/redis/scripts.ts'
import { describeApi } from '../support/openapi.ts'

const read = (path: string): string => readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8')

t.test('docs/configuration.md has the table of settings', async (t) => {
  const rows = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('|'))
  const written = rows(read('docs/configuration.md'))
  const wanted = rows(settingsTable())
  t.same(
    written.filter((row) => row.startsWith('| `')),
    wanted.filter((row) => row.startsWith('| `')),
    'each row as the settings say it'
  )
  t.ok(read('docs/configuration.md').includes(settingsTable()), 'in one piece')
})

t.test('docs/openapi.json is what the service says of itself', async (t) => {
  t.equal(read('docs/openapi.json'), await describeApi(), 'npm run openapi updates it')
})

t.test('docs/from-simple-jwt.md names settings that are there, and theirs once each', async (t) => {
  const rows = [...read('docs/from-simple-jwt.md').matchAll(/^\| `([A-Z_]+)` \| ([^|]+) \|/gm)]
  const names = rows.map(([, name]) => name)
  t.ok(names.length > 30)
  t.equal(new Set(names).size, names.length)
  const ours = new Set(Object.keys(settings).map(variableOf))
  for (const [, name = '', answer] of rows) t.equal(ours.has(name), answer === 'the same', `${name} is ${answer}`)
})

const folder = 'src/stores/redis/lua'

/** The places that a text names: `KEYS` -> 1, 2. */
const places = (text: string, list: 'KEYS' | 'ARGV'): number[] => {
  const found = [...text.matchAll(new RegExp(`${list}\\[(\\d+)\\]`, 'g'))].map(([, place]) => Number(place))
  return [...new Set(found)].toSorted((a, b) => a - b)
}

/** What several scripts share is not a command of its own. */
const preludes = ['record.lua', 'limited.lua', 'feed.lua']

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

t.test('scripts do what their headers say', async (t) => {
  const files = readdirSync(fileURLToPath(new URL(`../../../${folder}`, import.meta.url))).filter(
    (file) => !preludes.includes(file)
  )
  t.ok(files.length >= 2)
  const defined = new Map<string, number>()
  defineScripts({
    defineCommand: (name: string, { numberOfKeys }: { numberOfKeys: number }) => defined.set(name, numberOfKeys)
  } as unknown as Connection)
  const commandOf = (file: string): string => `keyturn${file.charAt(0).toUpperCase()}${file.slice(1, -'.lua'.length)}`
  t.same([...defined.keys()].toSorted(), files.map(commandOf).toSorted(), 'each file is a command')

  for (const file of files) {
    await t.test(file, async (t) => {
      const lines = read(`${folder}/${file}`).split('\n')
      const end = lines.findIndex((line) => !line.startsWith('-- '))
      const [header, code] = [lines.slice(0, end), lines.slice(end)]
      const places = placesOf(header, code)
      t.match(header[0], /^-- [A-Z].{20,}/, 'it begins with what it is for')
      t.equal(header.filter((line) => /^-- returns {2}\S/.test(line)).length, 1, 'and says what comes back')
      t.same(
        places.keys.reported,
        upTo(defined.get(commandOf(file)) ?? 0),
        'as many keys as its command is called with'
      )
      t.same(places.keys.used, places.keys.reported)
      t.same(places.arguments.reported, upTo(places.arguments.reported.length))
      if (places.takesMore) t.match(header.join('\n'), `ARGV[${places.arguments.reported.length}]  and on`)
      t.same(places.arguments.used, places.arguments.reported.slice(0, places.takesMore ? -1 : undefined))
      const bound = code.findIndex((line) => !line.startsWith('local '))
      t.notMatch(code.slice(bound).join('\n'), /KEYS\[|ARGV\[\d/, 'each has a name by the first lines')
      t.notMatch(code.join('\n'), /\bos\.|math\.random|redis\.replicate/, 'one clock: that of Redis')
    })
  }
})

/** Which keys and arguments a header tells of, and which the code uses. */
function placesOf(header: readonly string[], code: readonly string[]) {
  const reported = header.filter((line) => /^-- (KEYS|ARGV)\[\d+\] {2}\S/.test(line)).join('\n')
  const used = code.join('\n')
  return {
    keys: { reported: places(reported, 'KEYS'), used: places(used, 'KEYS') },
    arguments: { reported: places(reported, 'ARGV'), used: places(used, 'ARGV') },
    /** The last argument may come any number of times. */
    takesMore: used.includes('#ARGV')
  }
}
