import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { writePidfile } from '../../../src/cluster/pidfile.ts'
import { aDataDir } from '../../support/keyturn.ts'

const aFile = (t: Test): string => join(aDataDir(t), 'keyturn.pid')
const own = `${process.pid}\n`

t.test('pidfile: written, and removed at the end', async (t) => {
  const file = aFile(t)
  const remove = writePidfile(file)
  t.equal(readFileSync(file, 'utf8'), own)
  remove()
  t.notOk(existsSync(file))
  remove()
})

t.test('pidfile: one that names no running process is replaced', async (t) => {
  const gone = spawnSync('true').pid
  for (const text of [`${gone}\n`, `${gone}`, '', 'keyturn', '0', '-1', '1.5', `${process.pid}\n`]) {
    const file = aFile(t)
    writeFileSync(file, text)
    const remove = writePidfile(file)
    t.equal(readFileSync(file, 'utf8'), own, JSON.stringify(text))
    remove()
  }
})

t.test('pidfile: one that names another running process is refused, and kept', async (t) => {
  const file = aFile(t)
  writeFileSync(file, `${process.ppid}\n`)
  t.throws(() => writePidfile(file), {
    name: 'ConfigError',
    message: `PIDFILE: ${file} names process ${process.ppid}, which is running; stop it first, or set another PIDFILE.`
  })
  t.equal(readFileSync(file, 'utf8'), `${process.ppid}\n`)
})

t.test('pidfile: a path that cannot be written is refused', async (t) => {
  const folder = aFile(t)
  mkdirSync(folder)
  t.throws(() => writePidfile(folder), {
    name: 'ConfigError',
    message: /^PIDFILE: got ".*", expected .* \(EISDIR\)\.$/
  })
  t.throws(() => writePidfile(join(folder, 'none/pid')), { message: /\(ENOENT\)\.$/ })
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  t.throws(() => writePidfile(pipe), {
    name: 'ConfigError',
    message: `PIDFILE: got "${pipe}", expected a writable file (a pipe).`
  })
})

t.test('pidfile: one that another process has replaced is not removed', async (t) => {
  const file = aFile(t)
  const remove = writePidfile(file)
  writeFileSync(file, `${process.ppid}\n`)
  remove()
  t.equal(readFileSync(file, 'utf8'), `${process.ppid}\n`)
  rmSync(file)
  remove()
})
