import { fileURLToPath } from 'node:url'
import t from 'tap'
import { measure } from './sizes.ts'

const maxLines = 60
const maxMedian = 8

const { functions, cycles } = measure(fileURLToPath(new URL('../../../', import.meta.url)), [
  'src',
  'plugins',
  'routes'
])

t.test(`no function is longer than ${maxLines} lines, and half of them have at most ${maxMedian}`, async (t) => {
  t.ok(functions.length > 1000, `${functions.length} functions`)
  const longer = functions.filter(({ lines }) => lines > maxLines).map(({ file, name }) => `${file} ${name}`)
  t.same(longer, [])
  const lengths = functions.map(({ lines }) => lines).toSorted((a, b) => a - b)
  const median = lengths[Math.floor(lengths.length / 2)] ?? 0
  t.ok(median > 0 && median <= maxMedian, `median ${median}`)
})

t.test('no files import each other, directly or through others', async (t) => {
  t.same(cycles, [])
})

t.test('the counter finds long functions, closures and cycles', async (t) => {
  const root = t.testdir({
    src: {
      'a.ts':
        "import type { B } from './b.ts'\nexport function outer() {\n  const inner = () => 1\n  return inner\n}\n",
      'b.ts': "// A comment.\nexport { c } from './c.ts'\nexport type B = 1\n",
      'c.ts': "import './a.ts'\nimport { d } from './d.ts'\n\nexport const c = d\n",
      'd.ts': 'export class D {\n  m() {\n    return 1\n  }\n}\n'
    }
  })
  t.match(measure(root, ['src']), {
    files: 4,
    codeLines: 15,
    functions: [
      { file: 'src/a.ts', line: 3, name: 'inner', lines: 1, closures: 0 },
      { file: 'src/a.ts', line: 2, name: 'outer', lines: 4, closures: 1 },
      { file: 'src/d.ts', line: 2, name: 'm', lines: 3, closures: 0 }
    ],
    cycles: [['src/a.ts', 'src/b.ts', 'src/c.ts']]
  })
})
