/* The text that people read is plain English: some words that were once common here are not used any more. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** Each word with its replacement. A name in code is a word too. */
const words: readonly (readonly [word: RegExp, better: string])[] = [
  [/\bdoors?\b/i, 'endpoint'],
  [/\bwhoever\b/i, 'the client, the caller, the user'],
  [/\bnobody\b/i, 'no user, no process'],
  [/\btold\b/i, 'reported, logged, returned'],
  [/\banew\b/i, 'again'],
  [/\bparted by\b/i, 'separated by'],
  [/\bsmall letters\b/i, 'lower case'],
  [/(?<!\bthere )\b(?:is|are) no (?!longer\b|more\b)[a-z]/i, 'is not a'],
  [/\basks? for nothing\b/i, 'is ignored'],
  [/\bis asked again\b/i, 'retries'],
  [/\b(?:is|are|was|were) relieved\b/i, 'replaced'],
  [/\blet go\b/i, 'drained'],
  [/\btakes? leave\b/i, 'drains, shuts down']
]

/** Lines that may use such a word, and why. */
const exceptions: readonly (readonly [file: string, part: string, reason: string])[] = [
  ['test/e2e/users-import-rows.test.ts', "byName.get('nobody')", 'a user of the recorded Django dump'],
  ['src/stores/sql/migrations/006.do.audit-chain.sql', '`actor` is who did it', 'an applied migration has a checksum']
]

const folders = ['bench', 'deploy', 'docs', 'examples', 'packages', 'plugins', 'routes', 'src', 'test']
const isText = (file: string): boolean => /\.(ts|md|json|lua|sql|ya?ml|conf|service|socket)$/.test(file)

/** Recordings of other programs, translations, builds, and this file. */
const isSkipped = (file: string): boolean =>
  /(^|\/)(node_modules|dist|fixtures)\/|^src\/(translations\.ts|i18n\/)|^test\/house\/words\.test\.ts$/.test(file)

const listed = (folder: string): readonly string[] => {
  try {
    return readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' }).map((file) => `${folder}/${file}`)
  } catch {
    return [] // a package may lack a folder
  }
}

const files = [...readdirSync(root).filter((file) => file.endsWith('.md')), ...folders.flatMap(listed)]
  .filter((file) => isText(file) && !isSkipped(file))
  .toSorted()

/** The lines of a file that use a word of the list. */
const findings = (file: string, text: string): readonly string[] =>
  text.split('\n').flatMap((line, index) =>
    words
      .filter(([word]) => word.test(line))
      .filter(() => !exceptions.some(([excepted, part]) => excepted === file && line.includes(part)))
      .map(([, better]) => `${file}:${index + 1}: ${line.trim().slice(0, 120)} (better: ${better})`)
  )

t.test('no text uses a word that the style guide replaces', async (t) => {
  t.ok(files.length > 300)
  for (const file of files) t.same(findings(file, readFileSync(`${root}${file}`, 'utf8')), [], file)
})

t.test('every exception is still needed', async (t) => {
  for (const [file, part] of exceptions) t.ok(readFileSync(`${root}${file}`, 'utf8').includes(part), `${file}: ${part}`)
})

t.test('the list finds the words', async (t) => {
  for (const line of ['a door of ours', 'Whoever asks', 'that is no failure', 'const told = 1', 'what is let go'])
    t.equal(findings('x', line).length, 1, line)
  for (const line of ['there is no index', 'it is no longer valid', 'an endpoint'])
    t.same(findings('x', line), [], line)
})
