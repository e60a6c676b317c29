/* docs/errors.md tells of every code, with the status it is answered with, and of no other. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type ErrorCode, errorTable, KeyturnError } from '../../src/errors.ts'

const codes = Object.keys(errorTable) as ErrorCode[]

/** Code and status of each entry: a row of a table, or a heading and the first status under it. */
function entriesOf(markdown: string): string[] {
  const row = /^\|\s*`?([A-Z][A-Z_]+)`?\s*\|.*?\b([45]\d\d)\b/
  const heading = /^#{2,4} `?([A-Z][A-Z_]+)`?(?:\W*([45]\d\d).*)?$/
  const lines = markdown.split('\n')
  return lines.flatMap((line, index) => {
    const [, code, status] = row.exec(line) ?? []
    if (code !== undefined) return [`${code} ${status}`]
    const [, title, beside] = heading.exec(line) ?? []
    if (title === undefined) return []
    if (beside !== undefined) return [`${title} ${beside}`]
    const end = lines.findIndex((each, at) => at > index && each.startsWith('#'))
    const section = lines.slice(index + 1, end === -1 ? undefined : end).join('\n')
    return [`${title} ${/\b([45]\d\d)\b/.exec(section)?.[1]}`]
  })
}

t.test('the document and the table have the same codes', async (t) => {
  const markdown = readFileSync(fileURLToPath(new URL('../../../docs/errors.md', import.meta.url)), 'utf8')
  t.same(entriesOf(markdown).toSorted(), codes.map((code) => `${code} ${errorTable[code].status}`).toSorted())
})

t.test('entries are read in both forms', async (t) => {
  t.same(entriesOf('| code | status |\n| --- | --- |\n| `A_B` | 400 | x |\n'), ['A_B 400'])
  t.same(entriesOf('## A_B\n\nAnswered with 503.\n\n## Words\n404\n'), ['A_B 503'], 'a heading of words is none')
  t.same(entriesOf('### AB\nnothing\n### CD (401)'), ['AB undefined', 'CD 401'])
})

t.test('every body is one that a client can read', async (t) => {
  for (const code of codes) {
    const { body, status } = new KeyturnError(code, { detail: 'x' })
    t.ok(status >= 400 && status < 600, code)
    t.match(body, { detail: /\S/ }, code)
    t.same(
      Object.keys(body).filter((name) => name !== 'detail' && name !== 'code'),
      [],
      'no member that Simple JWT does not have'
    )
  }
})
