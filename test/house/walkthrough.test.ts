/* docs/refresh-walkthrough.md names only files and functions that exist. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const at = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url))

/** A declaration, or a member of a class or an object. */
const declares = (text: string, name: string): boolean =>
  new RegExp(`(?:function|const|class) ${name}\\b|^\\s*(?:async )?${name}(?:\\(|: \\()`, 'm').test(text)

/** Each file of a page, and each function with its file: in a row of a table, or as `name` of `file`. */
function namedIn(page: string): {
  readonly files: string[]
  readonly functions: (readonly [file: string, name: string])[]
} {
  const files = [...page.matchAll(/`((?:src|plugins|routes|test)\/[\w./-]+)`/g)].map(([, file = '']) => file)
  const rows = [...page.matchAll(/^\| `([^`]+)` \| `(\w+)` \|/gm)].map(
    ([, file = '', name = '']) => [file, name] as const
  )
  const others = [...page.matchAll(/`(\w+)` (?:of|in) `([^`]+)`/g)].map(
    ([, name = '', file = '']) => [file, name] as const
  )
  return { files, functions: [...rows, ...others] }
}

function missingIn(page: string): string[] {
  const { files, functions } = namedIn(page)
  const lost = files.filter((file) => !existsSync(at(file)))
  const undeclared = functions.filter(
    ([file, name]) => existsSync(at(file)) && !declares(readFileSync(at(file), 'utf8'), name)
  )
  return [...lost, ...undeclared.map(([file, name]) => `${name} of ${file}`)]
}

t.test('the walkthrough of a refresh names files and functions that exist, and takes three minutes', async (t) => {
  const page = readFileSync(at('docs/refresh-walkthrough.md'), 'utf8')
  const { files, functions } = namedIn(page)
  t.ok(files.length > 20 && functions.length > 20, `${files.length} files, ${functions.length} functions`)
  t.same(missingIn(page), [])
  t.ok(page.split(/\s+/).length < 900, 'at 300 words a minute')
})

t.test('what a page names and the code does not have is found', async (t) => {
  const page =
    '| `src/poll.ts` | `poll` | |\n| `src/poll.ts` | `polls` | |\n`describe` of `src/pool.ts`, `close` in `src/poll.ts`'
  t.same(missingIn(page), ['src/pool.ts', 'polls of src/poll.ts'])
})
