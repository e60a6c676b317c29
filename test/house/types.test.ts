/* Names that stand for one thing only. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../../', import.meta.url))

const declaration = /^export (?:declare )?(?:abstract )?(?:type|interface|class|enum) (\w+)/gm

t.test('no two exported types of the service share a name', async (t) => {
  const files = ['src', 'plugins', 'routes'].flatMap((layer) =>
    readdirSync(join(root, layer), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(layer, name))
  )
  const filesByType = new Map<string, string[]>()
  for (const file of files) {
    for (const [, name = ''] of readFileSync(join(root, file), 'utf8').matchAll(declaration))
      filesByType.set(name, [...(filesByType.get(name) ?? []), file])
  }
  t.ok(filesByType.size > 100, `${filesByType.size} types`)
  t.same(
    [...filesByType].filter(([, places]) => places.length > 1),
    []
  )
})
