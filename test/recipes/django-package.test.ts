/* packages/django: its own tests. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { findEngines } from '../support/engines.ts'
import { withoutProgram } from '../support/needs.ts'

const skip = withoutProgram('gunicorn')
const folder = fileURLToPath(new URL('../../../packages/django', import.meta.url))

t.test('its Python tests pass, and none is skipped', { skip }, async (t) => {
  const python = process.env.TEST_PYTHON || findEngines().gunicorn || 'python3'
  const { status, stderr } = spawnSync(python, ['-B', '-m', 'unittest'], { cwd: folder, encoding: 'utf8' })
  t.equal(status, 0, stderr)
  t.ok(Number(/^Ran (\d+) tests/m.exec(stderr)?.[1]) > 50)
  t.notMatch(stderr, /skipped/)
})
