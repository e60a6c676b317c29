/* The console in a browser: an operator logs in, finds a user, ends a session, and sees a reuse as it happens. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { openBrowser, openPage } from '../support/browser.ts'
import { aDataDir, post, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { withoutBrowser } from '../support/needs.ts'

const password = 'correct-horse-battery'

/** A running service with an operator, root, and a user, vitor. */
async function aService(t: Pick<Test, 'teardown'>, env: Record<string, string> = {}) {
  const settings = { DATA_DIR: aDataDir(t), REFRESH_REUSE_GRACE: '0', ...env }
  await runKeyturn(['users', 'create', 'root'], settings, `${password}\n`)
  await runKeyturn(['users', 'set-claims', 'root'], settings, '{"scope":"keyturn.admin"}')
  await runKeyturn(['users', 'create', 'vitor'], settings, `${password}\n`)
  return { settings, ...(await startKeyturn(t, { CONSOLE: 'on', ...settings })) }
}

async function logIn(page: Page, url: string): Promise<void> {
  await page.goto(`${url}/console/`)
  await page.getByLabel('Username').fill('root')
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('navigation', { name: 'Views' }).waitFor()
}

const loginOf = async (url: string) => (await post(`${url}/api/token/`, { username: 'vitor', password })).body
const refreshWith = async (url: string, token = '') =>
  (await post(`${url}/api/token/refresh/`, { refresh: token })).body.refresh

/** Two rotations, and then the first token again: a reuse, since there is no grace. */
async function reuse(url: string): Promise<void> {
  const { refresh } = await loginOf(url)
  await refreshWith(url, await refreshWith(url, refresh))
  await refreshWith(url, refresh)
}

const follow = (page: Page, name: string) => page.getByRole('link', { name, exact: true }).click()

t.test('an operator finds a user, ends a session, and sees a reuse appear', { skip: withoutBrowser() }, async (t) => {
  const { url } = await aService(t)
  await loginOf(url)
  const { page, asked, complaints } = await openPage(await openBrowser(t))
  page.setDefaultTimeout(20000)
  await logIn(page, url)

  await follow(page, 'Users')
  await page.getByLabel('Username begins with').fill('vi')
  await page.getByRole('button', { name: 'Find' }).click()
  await follow(page, 'vitor')
  const sessions = page.getByRole('table', { name: 'Sessions of vitor' })
  await sessions.getByRole('cell', { name: 'node', exact: true }).waitFor()
  await sessions.getByRole('button', { name: /^End the session/ }).click()
  const dialog = page.getByRole('dialog', { name: 'End this session?' })
  await dialog.getByRole('button', { name: 'End session' }).click()
  await page.getByRole('heading', { name: 'Audit trail: 1 entry' }).waitFor()
  t.match(await page.getByRole('dialog').innerText(), /session_revoke[\s\S]*user:/, 'the entry of the act')
  await page.getByRole('button', { name: 'Close' }).click()
  await page.getByText('There is no live session.').waitFor()

  await follow(page, 'Reuse')
  const verdicts = page.getByRole('table', { name: /^Reuse and late retries/ })
  await page.getByRole('button', { name: 'Follow live', pressed: true }).waitFor()
  t.equal(await verdicts.locator('tbody tr').count(), 0)
  await reuse(url)
  await verdicts.getByText('reused').waitFor()
  t.match(await verdicts.locator('tbody').innerText(), /stolen, or the client is faulty/, 'explained')

  t.same(complaints, [], 'nothing on the console')
  t.same(
    asked.filter((each) => !each.startsWith(`${url}/`)),
    [],
    'no other host'
  )
  t.equal(
    await page.evaluate('JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])'),
    '[{},{},""]'
  )
})

/** What axe-core finds on a page that is serious or worse. Its script is not one of the page's, so the policy is off. */
async function seriousFindings(page: Page): Promise<readonly string[]> {
  await page.evaluate(readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8'))
  const { violations } = await page.evaluate<{
    violations: { id: string; impact: string; nodes: { html: string }[] }[]
  }>('axe.run()')
  return violations
    .filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)
}

const isShown = '(location.hash, document.querySelector("main [aria-busy]") === null)'
const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }

t.test('every view is accessible, in light and dark and on a phone', { skip: withoutBrowser() }, async (t) => {
  const { url } = await aService(t)
  await reuse(url)
  const browser = await openBrowser(t)
  for (const options of [{ colorScheme: 'light' }, { colorScheme: 'dark', ...phone }] as const) {
    const { page } = await openPage(browser, { ...options, bypassCSP: true })
    const check = async (name: string): Promise<void> => {
      await page.waitForFunction(isShown)
      t.same(await seriousFindings(page), [], `${options.colorScheme}: ${name}`)
      t.ok(await page.evaluate('document.documentElement.scrollWidth <= screen.width'), `${name} is not too wide`)
    }
    await page.goto(`${url}/console/`)
    await check('login')
    await logIn(page, url)
    for (const name of ['Overview', 'Audit trail', 'Reuse', 'Keys', 'Clients', 'Users']) {
      await follow(page, name)
      await page.getByRole('heading', { name, level: 1 }).waitFor()
      await check(name)
    }
    await follow(page, 'vitor')
    await page.getByRole('table', { name: /^Other entries of vitor/ }).waitFor()
    await check('a user')
    await page.getByRole('button', { name: 'Deactivate' }).click()
    await check('a question')
  }
})

t.test(
  'a name that reorders text is shown as the commands print it, and a long one fits on a phone',
  { skip: withoutBrowser() },
  async (t) => {
    const { url, settings } = await aService(t)
    const long = 'W'.repeat(250)
    for (const name of ['\u202erotiv', long]) await runKeyturn(['users', 'create', name], settings, `${password}\n`)
    const { page } = await openPage(await openBrowser(t), phone)
    await logIn(page, url)
    await follow(page, 'Users')
    await follow(page, '\\u202erotiv')
    await page.getByRole('button', { name: 'Deactivate' }).tap()
    await page.getByRole('dialog', { name: 'Deactivate \\u202erotiv?' }).getByRole('button', { name: 'Cancel' }).tap()
    await follow(page, 'Users')
    await follow(page, long)
    await page.getByRole('table', { name: /^Other entries of W/ }).waitFor()
    t.ok(await page.evaluate('document.documentElement.scrollWidth <= screen.width'))
  }
)

/** Answers the question of an act, and returns what the console shows of it. */
async function confirm(page: Page, question: string, button: string): Promise<string> {
  await page.getByRole('dialog', { name: question }).getByRole('button', { name: button, exact: true }).click()
  await page.getByRole('heading', { name: /^Audit trail: / }).waitFor()
  const text = await page.getByRole('dialog').innerText()
  await page.getByRole('button', { name: 'Close' }).click()
  return text
}

t.test(
  'each act is confirmed and shows its entry, and names are only ever text',
  { skip: withoutBrowser() },
  async (t) => {
    const { url } = await aService(t)
    const { page, complaints } = await openPage(await openBrowser(t))
    const press = (name: string) => page.getByRole('button', { name, exact: true }).click()
    const hostile = '<img src=x onerror="document.title=1">'
    await logIn(page, url)

    await follow(page, 'Users')
    await press('Create user')
    await page.getByRole('dialog').getByLabel('Username').fill(hostile)
    t.match(await confirm(page, 'Create a user?', 'Create user'), /user_create/)
    await page.getByRole('heading', { name: hostile }).waitFor()
    await press('Reset link')
    await page.getByLabel('Address of your reset page').fill('https://app.example/reset?token=')
    await page.getByRole('button', { name: 'Issue link' }).click()
    t.match(await page.getByLabel('Secret').inputValue(), /^https:\/\/app\.example\/reset\?token=.{20}/)
    await page.getByRole('heading', { name: 'Audit trail: 1 entry' }).waitFor()
    await press('Close')
    await press('Deactivate')
    t.match(await confirm(page, `Deactivate ${hostile}?`, 'Deactivate'), /user_deactivate/)
    await press('Activate')
    t.match(await confirm(page, `Activate ${hostile}?`, 'Activate'), /user_activate/)

    await Promise.all([loginOf(url), loginOf(url)])
    await follow(page, 'Users')
    await follow(page, 'vitor')
    await press('End all sessions')
    t.match(await confirm(page, 'End all sessions of vitor?', 'End all sessions'), /2 sessions[\s\S]*2 entries/)

    await follow(page, 'Keys')
    await press('Rotate')
    t.match(await confirm(page, 'Rotate the signing key?', 'Rotate'), /key_publish/)
    await page.getByRole('table').getByText('next').waitFor()

    await follow(page, 'Clients')
    await press('Create client')
    await page.getByLabel('Client id').fill('shop')
    t.match(await confirm(page, 'Create a client?', 'Create client'), /client_create[\s\S]*shop/)
    await press('New secret: shop')
    t.match(await confirm(page, 'Replace the secret of shop?', 'New secret'), /client_secret/)
    await press('Delete: shop')
    t.match(await confirm(page, 'Delete the client shop?', 'Delete client'), /client_delete/)

    await follow(page, 'Audit trail')
    await page.getByLabel('Event').fill('client_secret')
    await press('Filter')
    await page.waitForFunction('document.querySelectorAll("tbody tr").length === 1')
    t.match(await page.locator('tbody tr').innerText(), /client_secret/, 'one entry by the filter')
    t.equal(await page.locator('img').count(), 0)
    t.same(complaints, [])
  }
)

t.test('a refused act shows why, and can be given up', { skip: withoutBrowser() }, async (t) => {
  const { url } = await aService(t)
  const { page } = await openPage(await openBrowser(t))
  await logIn(page, url)
  await follow(page, 'Users')
  await page.getByRole('button', { name: 'Create user' }).click()
  const dialog = page.getByRole('dialog', { name: 'Create a user?' })
  await dialog.getByLabel('Username').fill('vitor')
  await dialog.getByRole('button', { name: 'Create user' }).click()
  t.match(await dialog.getByRole('alert').innerText(), /vitor|exists|taken/)
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'detached' })
  t.equal(await page.locator(':focus').innerText(), 'Create user', 'the focus is back')
})

t.test('the views are those of the scopes', { skip: withoutBrowser() }, async (t) => {
  const settings = { DATA_DIR: aDataDir(t) }
  const { url } = await aService(t, settings)
  await runKeyturn(['users', 'create', 'amy'], settings, `${password}\n`)
  await runKeyturn(['users', 'set-claims', 'amy'], settings, '{"scope":"keyturn.users.read keyturn.audit"}')
  await loginOf(url)
  const { page } = await openPage(await openBrowser(t))
  await page.goto(`${url}/console/#keys`)
  const enter = async (username: string) => {
    await page.getByLabel('Username').fill(username)
    await page.getByLabel('Password').fill(password)
    await page.getByRole('button', { name: 'Log in' }).click()
  }
  await enter('vitor')
  t.match(await page.getByRole('alert').innerText(), /may not use the console/)
  await enter('amy')
  await page.getByRole('heading', { name: 'Users' }).waitFor()
  t.same(await page.getByRole('navigation').getByRole('link').allInnerTexts(), ['Users', 'Audit trail', 'Reuse'])
  await follow(page, 'vitor')
  await page.getByRole('table', { name: /^Other entries of vitor/ }).waitFor()
  t.equal(await page.getByRole('button', { name: /^End|^Deactivate|^Reset/ }).count(), 0)
  t.equal(await page.getByRole('table', { name: /^Sessions/ }).count(), 0)
})

t.test(
  'the page refreshes its token, follows through a reload, and notices the end of its session',
  { skip: withoutBrowser() },
  async (t) => {
    // The page refreshes ten seconds before the end.
    const settings = { DATA_DIR: aDataDir(t), ACCESS_TOKEN_LIFETIME: '11s', WEB_CONCURRENCY: '2' }
    const service = await aService(t, settings)
    const { page } = await openPage(await openBrowser(t))
    const refreshed = page.waitForRequest((request) => request.url().endsWith('/api/token/refresh/'))
    await logIn(page, service.url)
    await refreshed
    await follow(page, 'Reuse')
    await page.getByRole('button', { name: 'Follow live', pressed: true }).waitFor()

    const again = page.waitForRequest((request) => request.headers().accept === 'text/event-stream')
    service.child.kill('SIGHUP')
    await again
    await reuse(service.url)
    await page.getByRole('table').getByText('reused').waitFor()

    await runKeyturn(['sessions', 'revoke', 'root'], settings)
    await follow(page, 'Users')
    await page.getByText('Your session has ended. Log in again.').waitFor()
    await page.getByLabel('Password').waitFor()
    t.equal(await page.getByRole('navigation').count(), 0, 'the views are hidden')
  }
)

t.test('on MANAGEMENT_PORT and in cookie mode an operator logs in as well', { skip: withoutBrowser() }, async (t) => {
  const { output } = await aService(t, { MANAGEMENT_PORT: '0', COOKIE_MODE: 'on', ACCESS_TOKEN_LIFETIME: '11s' })
  const url = String(/"management":"(http:[^"]+)"/.exec(output().stdout)?.[1])
  const { page, asked, complaints } = await openPage(await openBrowser(t))
  const refreshed = page.waitForResponse((response) => response.url().endsWith('/api/token/refresh/'))
  await logIn(page, url)
  t.equal((await refreshed).status(), 200, 'with the cookie')
  await page.getByRole('table', { name: 'Keys that sign access tokens' }).waitFor()
  const loggedOut = page.waitForResponse((response) => response.url().endsWith('/api/token/blacklist/'))
  await page.getByRole('button', { name: 'Log out' }).click()
  t.equal((await loggedOut).status(), 200)
  t.same(
    asked.filter((each) => !each.startsWith(`${url}/`)),
    []
  )
  t.same(complaints, [])
})

t.test('the keyboard suffices to end a session', { skip: withoutBrowser() }, async (t) => {
  const { url } = await aService(t)
  await loginOf(url)
  const { page } = await openPage(await openBrowser(t))
  const { keyboard } = page
  /** Presses Tab until the element with this name has the focus, and returns how its outline looks. */
  const tabTo = async (name: string): Promise<string> => {
    const focus = page.locator(':focus')
    for (let count = 0; count < 40; count++) {
      await keyboard.press('Tab')
      const found = (await focus.getAttribute('aria-label')) ?? (await focus.innerText())
      if (found.startsWith(name))
        return await page.evaluate<string>('getComputedStyle(document.activeElement).outlineStyle')
    }
    throw new Error(`${name} does not get the focus`)
  }
  await page.goto(`${url}/console/`)
  await page.locator('#field-username:focus').waitFor()
  await keyboard.type('root')
  await keyboard.press('Tab')
  await keyboard.type(password)
  await keyboard.press('Enter')
  await page.locator('h1:focus', { hasText: 'Overview' }).waitFor()

  t.equal(await tabTo('Skip to content'), 'solid', 'the focus can be seen')
  await keyboard.press('Enter')
  t.equal(await page.locator(':focus').getAttribute('id'), 'main')
  await page.locator('h1').focus()
  await tabTo('Users')
  await keyboard.press('Enter')
  await page.locator('h1:focus', { hasText: 'Users' }).waitFor()
  await page.getByRole('link', { name: 'vitor' }).waitFor()
  await tabTo('vitor')
  await keyboard.press('Enter')
  await page.getByRole('button', { name: /^End the session/ }).waitFor()
  t.equal(await tabTo('End the session'), 'solid')
  await keyboard.press('Enter')
  t.equal(await page.locator(':focus').innerText(), 'Cancel', 'a slip of the finger does nothing')
  await keyboard.press('Tab')
  await keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Audit trail: 1 entry' }).waitFor()
  t.equal(await page.locator(':focus').innerText(), 'Close')
  await keyboard.press('Enter')
  await page.getByText('There is no live session.').waitFor()
  t.equal(await page.locator(':focus').innerText(), 'User', 'the focus is at the beginning of the view')
})
