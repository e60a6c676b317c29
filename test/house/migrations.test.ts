/*
 * A migration only adds. While a release is rolled out, or rolled back, the version before it works on the tables of the
 * one after it: it must find all that it knows, and be able to write rows without what it does not know.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const folder = fileURLToPath(new URL('.', import.meta.resolve('#migrations/001.do.start.sql')))

const additions: readonly RegExp[] = [
  /^CREATE TABLE /,
  /^CREATE (UNIQUE )?INDEX /,
  /^ALTER TABLE \w+ ADD COLUMN (?!.*NOT NULL)/,
  // A column that must have a value brings one along.
  /^ALTER TABLE \w+ ADD COLUMN .*NOT NULL DEFAULT /,
  // Fills what was added.
  /^(UPDATE|INSERT INTO) /
]

const statementsOf = (sql: string): string[] =>
  sql
    .replace(/--.*$/gm, '')
    .split(';')
    .map((statement) => statement.trim().replace(/\s+/g, ' '))
    .filter((statement) => statement !== '')

const takesAway = (sql: string): string[] =>
  statementsOf(sql).filter((statement) => !additions.some((addition) => addition.test(statement)))

t.test('every migration only adds', async (t) => {
  const files = readdirSync(folder).toSorted()
  t.ok(files.length >= 4)
  for (const file of files) {
    t.match(file, /^\d{3}\.do\.[a-z-]+\.sql$/, 'none is undone: that would take away')
    t.same(takesAway(readFileSync(`${folder}${file}`, 'utf8')), [], file)
  }
})

t.test('it is seen what takes away', async (t) => {
  const column = 'ALTER TABLE keyturn_users ADD COLUMN'
  t.same(takesAway(`-- DROP TABLE a;\n${column} b TEXT;\n${column} c BIGINT\n  NOT NULL DEFAULT 0;`), [])
  for (const statement of [
    'DROP TABLE keyturn_users',
    'ALTER TABLE keyturn_users DROP COLUMN claims',
    'ALTER TABLE keyturn_users RENAME COLUMN claims TO extra',
    'ALTER TABLE keyturn_users ALTER COLUMN claims SET NOT NULL',
    `${column} d TEXT NOT NULL`,
    'DELETE FROM keyturn_keys'
  ])
    t.same(takesAway(`${statement};`), [statement])
})
