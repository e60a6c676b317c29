/* The page at /docs in a browser: log in, refresh, use the access token, and nothing that the browser complains of. */
import type { Locator, Page } from 'playwright-core'
import t from 'tap'
import { openBrowser, openPage } from '../support/browser.ts'
import { aDataDir, post, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { withoutBrowser } from '../support/needs.ts'

const password = 'correct-horse-battery'

/** An endpoint on the page, expanded. */
async function openDoor(page: Page, id: string): Promise<Locator> {
  const endpoint = page.locator(`.opblock[id$="-${id}"]`)
  await endpoint.locator('.opblock-summary-control').click()
  await endpoint.getByRole('button', { name: 'Execute' }).waitFor()
  return endpoint
}

/** Presses Execute: the status and the body that the page shows. */
async function execute(endpoint: Locator): Promise<{ readonly status: string; readonly body: Record<string, string> }> {
  await endpoint.getByRole('button', { name: 'Execute' }).click()
  const answer = endpoint.locator('.live-responses-table .response')
  const status = await answer.locator('.response-col_status').innerText()
  return { status: status.trim(), body: JSON.parse(await answer.locator('.highlight-code code').first().innerText()) }
}

t.test('a user logs in on the page and tries the endpoints', { skip: withoutBrowser() }, async (t) => {
  const env = { DATA_DIR: aDataDir(t) }
  await runKeyturn(['users', 'create', 'vitor'], env, `${password}\n`)
  const { url } = await startKeyturn(t, env)
  const { page, asked, complaints } = await openPage(await openBrowser(t), { viewport: { width: 1200, height: 1000 } })
  await page.goto(`${url}/docs`)
  t.equal(await page.title(), 'Keyturn')

  const obtain = await openDoor(page, 'tokenObtainPair')
  const filled = JSON.parse(await obtain.locator('textarea').inputValue())
  t.same(Object.keys(filled), ['username', 'password'], 'the example is filled in')
  await obtain.locator('textarea').fill(JSON.stringify({ username: 'vitor', password }))
  const login = await execute(obtain)
  t.match(login, { status: '200', body: { access: /^eyJ/, refresh: /^eyJ/ } })

  const refreshing = await openDoor(page, 'tokenRefresh')
  await refreshing.locator('textarea').fill(JSON.stringify({ refresh: login.body.refresh }))
  const next = await execute(refreshing)
  t.match(next, { status: '200', body: { access: /^eyJ/, refresh: /^eyJ/ } })
  t.not(next.body.refresh, login.body.refresh)
  t.equal((await post(`${url}/api/token/verify/`, { token: next.body.access })).status, 200, 'it is a real one')

  await page.getByRole('button', { name: 'Authorize' }).first().click()
  const bearer = page.locator('.auth-container', { hasText: 'An access token' })
  await bearer.locator('input').fill(String(next.body.access))
  await bearer.getByRole('button', { name: 'Apply credentials' }).click()
  await page.locator('.close-modal').click()
  const list = await execute(await openDoor(page, 'sessionList'))
  t.match(list, { status: '200', body: { sessions: [{ current: true, ip: '127.0.0.1', user_agent: /Chrome/ }] } })
  t.equal(
    await page.evaluate('JSON.stringify([{ ...localStorage }, { ...sessionStorage }])'),
    '[{},{}]',
    'nothing is kept'
  )

  t.same(complaints, [], 'nothing on the console')
  t.ok(asked.length >= 9)
  t.same(
    asked.filter((each) => !each.startsWith(`${url}/`) && !each.startsWith('data:')),
    [],
    'and no other host was contacted'
  )
})
