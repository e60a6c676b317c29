/* `npm run example`: starts two Keyturns with a user, and the demo page. Everything is gone when it ends. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { startServer } from './server.mjs'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const port = Number(process.env.PORT ?? 3000)
const folder = mkdtempSync(join(tmpdir(), 'keyturn-example-'))
const children = []

process.on('exit', () => {
  for (const child of children) child.kill()
  rmSync(folder, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit())

/** Starts a Keyturn whose access tokens expire after 20 seconds, so that there is something to see. */
async function startKeyturn(name, settings) {
  const env = {
    PATH: process.env.PATH,
    DATA_DIR: join(folder, name),
    ACCESS_TOKEN_LIFETIME: '20s',
    RATE_LIMIT_REFRESH: 'off',
    PORT: '0',
    ...settings
  }
  const user = spawn(process.execPath, [main, 'users', 'create', 'vitor'], { env, stdio: ['pipe', 'ignore', 'pipe'] })
  user.stdin.end('correct horse')
  const report = await text(user.stderr)
  if (user.exitCode !== 0 && (await once(user, 'exit'))[0] !== 0) throw new Error(report)
  const child = spawn(process.execPath, [main, 'serve'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  let output = ''
  for await (const part of child.stdout.setEncoding('utf8')) {
    output += part
    const url = /listens on (http:\S+?)"/.exec(output)?.[1]
    if (url !== undefined) {
      child.stdout.destroy() // the log is not shown
      return url
    }
  }
  throw new Error(`keyturn serve ended: ${output}`)
}

const origin = `http://127.0.0.1:${port}`
const token = await startKeyturn('token', {})
const cookie = await startKeyturn('cookie', { COOKIE_MODE: 'on', COOKIE_ORIGINS: origin })
let toLose = 0
const fate = () => ({ lose: toLose > 0 && toLose-- > 0 })
const { url } = await startServer({
  port,
  fate,
  upstreams: { token: () => token, cookie: () => cookie },
  onLose: () => {
    toLose = 1
  }
}).catch((error) => {
  if (error.code !== 'EADDRINUSE') throw error
  console.error(`Port ${port} is in use. Choose another one: PORT=${port + 1} npm run example`)
  process.exit(1)
})
console.log(`Open ${url} and log in as "vitor" with the password "correct horse".`)
