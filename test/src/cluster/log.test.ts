import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import t from 'tap'

const file = new URL('../../../src/cluster/log.js', import.meta.url).href

/** The lines of a process that opens a log, does `code` with it, and ends. */
async function linesOf(code: string): Promise<readonly Record<string, unknown>[]> {
  const script = `import { openLog } from '${file}'
    const log = await openLog({ logLevel: 'info', logFormat: 'json' })
    ${code}`
  return await linesOfScript(script)
}

async function linesOfScript(script: string): Promise<readonly Record<string, unknown>[]> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [lines] = await Promise.all([text(child.stdout), once(child, 'close')])
  return lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
}

const kill = `process.kill(process.pid, 'SIGKILL')`

t.test('lines are gathered, and none is lost when the process exits', async (t) => {
  const lines = await linesOf(`log.info({ a: 1, b: undefined }, 'one'); log.info('two'); process.exit(3)`)
  t.match(lines, [
    { level: 'info', time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, pid: Number, a: 1, msg: 'one' },
    { msg: 'two' }
  ])
  t.same(Object.keys(lines[0] ?? {}), ['level', 'time', 'pid', 'a', 'msg'], 'what is undefined is left out')
  t.match(await linesOf(`log.info('one')`), [{ msg: 'one' }], 'nor when it has nothing more to do')
  t.match(await linesOf(`log.info('one'); setTimeout(() => ${kill}, 500)`), [{ msg: 'one' }], 'nor later')
})

t.test('a warning is written at once, and all before it', async (t) => {
  t.match(await linesOf(`log.info('one'); log.warn('two'); log.error('three'); ${kill}`), [
    { level: 'info', msg: 'one' },
    { level: 'warn', msg: 'two' },
    { level: 'error', msg: 'three' }
  ])
})

t.test('each line has its own time', async (t) => {
  const [one, two] = await linesOf(`log.info('one'); setTimeout(() => log.info('two'), 50)`)
  t.ok(Date.parse(String(two?.time)) - Date.parse(String(one?.time)) >= 45)
})

t.test('lines of the arbiter before its log is open are written in order, and later ones at once', async (t) => {
  const lines = await linesOfScript(`import { makeLog } from '${file}'
    const log = makeLog({ logLevel: 'info', logFormat: 'json' })
    log.debug('below the level')
    log.info({ worker: 7 }, 'first')
    log.error('second')
    await import('pino')
    setImmediate(() => {
      log.info('third')
      ${kill}
    })`)
  t.match(lines, [{ level: 'info', worker: 7, msg: 'first' }, { level: 'error', msg: 'second' }, { msg: 'third' }])
  t.equal(lines.length, 3)
})

t.test('a log shows what strangers sent without acting on it', async (t) => {
  const hostile = JSON.stringify('\u001b[2J\u009b31m\u202eevil\u2066\u007f')
  const script = (logFormat: string) => `import { openLog } from '${file}'
    const log = await openLog({ logLevel: 'info', logFormat: '${logFormat}' })
    const err = Object.assign(new Error(${hostile}), { more: [${hostile}] })
    log.error({ user_agent: ${hostile}, err }, 'about ' + ${hostile})`
  for (const format of ['json', 'pretty']) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script(format)], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    const [shown] = await Promise.all([text(child.stdout), once(child, 'close')])
    t.match(shown, /u009b31m.u202eevil/, format)
    t.notMatch(shown, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/, format)
  }
})
