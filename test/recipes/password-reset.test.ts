/* docs/recipes/password-reset.md as printed: the hook, the process that sends mails, and the page in a browser. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { until } from '../conformance/feed.ts'
import { openBrowser } from '../support/browser.ts'
import { aDataDir, post, type RunningKeyturn, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { withoutBrowser } from '../support/needs.ts'
import { fillIn, readBlock } from '../support/recipes.ts'

const page = 'password-reset.md'
const username = 'vitor@app.example'

/** The files of the page, and Keyturn's own endpoints; and how often each was requested. */
async function startSite(t: Test, keyturn: RunningKeyturn): Promise<{ url: string; count(path: string): number }> {
  const seen: string[] = []
  const files: Readonly<Record<string, readonly [type: string, text: string]>> = {
    '/reset.html': ['text/html', readBlock(page, 'reset.html')],
    '/reset.js': ['text/javascript', readBlock(page, 'reset.js')]
  }
  const server = createServer(async (request, response) => {
    const path = request.url ?? ''
    seen.push(path)
    const [type, text] = files[path] ?? []
    if (type !== undefined) {
      response.setHeader('content-type', type).end(text)
      return
    }
    if (request.method !== 'POST') {
      response.writeHead(404).end()
      return
    }
    const body = Buffer.concat(await request.toArray())
    const headers = { 'content-type': request.headers['content-type'] ?? '' }
    const answer = await fetch(keyturn.url + path, { method: 'POST', headers, body })
    response.statusCode = answer.status
    response.setHeader('content-type', 'application/json').end(await answer.text())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close().closeAllConnections())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, count: (path) => seen.filter((each) => each === path).length }
}

t.test('a user requests a mail, and sets a new password on the page', { skip: withoutBrowser() }, async (t) => {
  const folder = aDataDir(t)
  const queue = join(folder, 'queue')
  const spool = { '/var/spool/keyturn-mail': queue }
  mkdirSync(queue)
  writeFileSync(join(folder, 'hooks.mjs'), fillIn(readBlock(page, 'hooks.mjs'), spool))
  const env = { DATA_DIR: join(folder, 'data'), HOOKS_MODULE: join(folder, 'hooks.mjs') }
  t.equal((await runKeyturn(['users', 'create', username], env, 'correct horse')).code, 0)
  const keyturn = await startKeyturn(t, env)
  const site = await startSite(t, keyturn)
  const logIn = async (password: string) => (await post(`${keyturn.url}/api/token/`, { username, password })).status

  for (const name of ['unknown@app.example', username])
    t.equal((await post(`${keyturn.url}/api/password/forgot/`, { username: name })).status, 202)
  await until(async () => readdirSync(queue).some((name) => name.endsWith('.json')))
  const expired = JSON.stringify({ to: 'late@app.example', token: 'x', expiresAt: 1, ip: '' })
  writeFileSync(join(queue, 'expired.json'), expired)
  writeFileSync(join(queue, 'broken.json'), '{')

  const mails = join(folder, 'mails')
  const sendMail = `import { appendFile } from 'node:fs/promises'
    export const sendMail = (mail) => appendFile(${JSON.stringify(mails)}, JSON.stringify(mail) + '\\n')`
  writeFileSync(join(folder, 'mail.mjs'), sendMail)
  const places = { ...spool, 'https://app.example/reset.html': `${site.url}/reset.html` }
  writeFileSync(join(folder, 'send-mails.mjs'), fillIn(readBlock(page, 'send-mails.mjs'), places))
  const sender: ChildProcess = spawn(process.execPath, [join(folder, 'send-mails.mjs')], { stdio: 'ignore' })
  t.teardown(() => sender.kill())
  await until(async () => existsSync(mails) && readdirSync(queue).join() === 'broken.json')
  const sent = readFileSync(mails, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.match(sent, [{ to: username, subject: 'Your new password' }])
  t.equal(sent.length, 1, 'neither to an unknown address, nor with an expired token')
  const link = /http\S+/.exec(sent[0].text)?.[0] ?? ''

  // A mail scanner.
  for (let scan = 0; scan < 3; scan++) t.equal((await fetch(link)).status, 200)
  const browser = await openBrowser(t)
  const tab = await browser.newPage()
  await tab.goto(link)
  t.equal(site.count('/api/password/reset/'), 0, 'loading the page redeems nothing')
  const submit = async (password: string): Promise<string | null> => {
    const before = site.count('/api/password/reset/')
    await tab.fill('input', password)
    await tab.click('button')
    await until(async () => site.count('/api/password/reset/') > before)
    await tab.waitForFunction("document.querySelector('output').textContent !== ''")
    return await tab.textContent('output')
  }
  t.equal(await submit('short'), 'The password is too short: at least 8 characters are needed.')
  await tab.evaluate("document.querySelector('output').textContent = ''")
  t.equal(await submit('staple under the bridge'), 'Your password is set. You have been logged out everywhere.')
  t.notMatch(tab.url(), /#/)
  t.equal(await logIn('correct horse'), 401)
  t.equal(await logIn('staple under the bridge'), 200)
  await tab.evaluate("document.querySelector('output').textContent = ''")
  t.match(await submit('another under the bridge'), /was already used/)
})
