import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { writePidfile } from '../../../src/cluster/pidfile.ts'
import { aDataDir } from '../../support/keyturn.ts'

const aFile = (t: Test): string => join(aDataDir(t), 'keyturn.pid')
const own = `${process.pid}\n`

t.test('written, and removed at the end', async (t) => {
  const file = aFile(t)
  const remove = writePidfile(file)
  t.equal(readFileSync(file, 'utf8'), own)
  remove()
  t.notOk(existsSync(file))
  remove()
})

t.test('taken over where nobody lives by it', async (t) => {
  const gone = spawnSync('true').pid
  for (const text of [`${gone}\n`, `${gone}`, '', 'keyturn', '0', '-1', '1.5', `${process.pid}\n`]) {
    const file = aFile(t)
    writeFileSync(file, text)
    const remove = writePidfile(file)
    t.equal(readFileSync(file, 'utf8'), own, JSON.stringify(text))
    remove()
  }
})

t.test('refused where another process lives by it, and left alone', async (t) => {
  const file = aFile(t)
  writeFileSync(file, `${process.ppid}\n`)
  t.throws(() => writePidfile(file), {
    name: 'ConfigError',
    message: `PIDFILE: ${file} names process ${process.ppid}, which is running; expected no other one.`
  })
  t.equal(readFileSync(file, 'utf8'), `${process.ppid}\n`)
})

t.test('refused where it cannot be written', async (t) => {
  const folder = aFile(t)
  mkdirSync(folder)
  t.throws(() => writePidfile(folder), {
    name: 'ConfigError',
    message: /^PIDFILE: got ".*", expected .* \(EISDIR\)\.$/
  })
  t.throws(() => writePidfile(join(folder, 'none/pid')), { message: /\(ENOENT\)\.$/ })
})

t.test('the file of whoever has taken it over since is not removed', async (t) => {
  const file = aFile(t)
  const remove = writePidfile(file)
  writeFileSync(file, `${process.ppid}\n`)
  remove()
  t.equal(readFileSync(file, 'utf8'), `${process.ppid}\n`)
  rmSync(file)
  remove()
})
