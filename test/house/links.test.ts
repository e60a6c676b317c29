/* Every relative link in the documents leads to a file, and to a heading of it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../../', import.meta.url))

const pagesIn = (folder: string): readonly string[] =>
  readdirSync(join(root, folder))
    .filter((file) => file.endsWith('.md'))
    .map((file) => join(folder, file))

const pages = [...pagesIn('.'), ...pagesIn('docs'), ...pagesIn('docs/recipes'), ...pagesIn('bench')]

const textOf = (page: string): string => readFileSync(join(root, page), 'utf8').replace(/^```[\s\S]*?^```/gm, '')

/** The anchors of a page, formed from its headings as on GitHub. */
const anchorsOf = (page: string): ReadonlySet<string> =>
  new Set(
    [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-')
    )
  )

const linksOf = (page: string): readonly string[] =>
  [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link).filter((link) => !/^[a-z]+:/.test(link))

t.test('no link in the documents is broken', async (t) => {
  t.ok(pages.length > 30)
  for (const page of pages) {
    for (const link of linksOf(page)) {
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? page : join(dirname(page), path)
      t.ok(existsSync(join(root, target)), `${page}: ${link}`)
      if (anchor !== undefined && target.endsWith('.md')) t.ok(anchorsOf(target).has(anchor), `${page}: ${link}`)
    }
  }
})

t.test('docs/README.md lists every page', async (t) => {
  const listed = new Set(linksOf('docs/README.md').map((link) => join('docs', link.split('#')[0] ?? '')))
  for (const page of pagesIn('docs').filter((each) => each !== 'docs/README.md')) t.ok(listed.has(page), page)
})
