/* A test that waits for a condition does so with a limit and a message: a loop without them would last until tap ends its file. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../../test/', import.meta.url))

/** A loop that only waits, and compares no time. */
const endless = /\bwhile \((?!.*\b(?:Date|performance)\.now\b).*\) (?:await (?:delay|sleep)\(|\{\})/

/** Files that may have such a loop, and why. */
const exceptions: Readonly<Record<string, string>> = {
  'e2e/tabs.ts': 'a run lasts as long as its plan'
}

t.test('every wait of a test has a limit', async (t) => {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  t.ok(files.length > 200, `${files.length} files`)
  const found = files
    .filter((file) => exceptions[file] === undefined)
    .flatMap((file) =>
      readFileSync(`${root}${file}`, 'utf8')
        .split('\n')
        .flatMap((line, index) => (endless.test(line) ? [`test/${file}:${index + 1}: ${line.trim()}`] : []))
    )
  t.same(found, [], 'they use until() of test/support/arbiter.ts')
})
