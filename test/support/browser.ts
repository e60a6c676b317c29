/** A headless browser for one test, and its pages. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { findEngines } from './engines.ts'

/** Chromium, which finds no host but this one, closed with `t`. */
export async function openBrowser(t: Pick<Test, 'teardown'>): Promise<Browser> {
  const executablePath = process.env.TEST_CHROMIUM || findEngines().chromium
  if (executablePath === undefined) throw new Error('There is no Chromium. Install it, or name one by TEST_CHROMIUM.')
  const browser = await chromium.launch({
    executablePath,
    // Its sandbox does not work for root.
    chromiumSandbox: process.getuid?.() !== 0,
    args: ['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1']
  })
  t.teardown(() => browser.close())
  return browser
}

/** A page with the URLs that it requests, and the errors and warnings on its console. */
export async function openPage(
  browser: Browser,
  options: BrowserContextOptions = {}
): Promise<{ page: Page; asked: readonly string[]; complaints: readonly string[] }> {
  const page = await browser.newPage(options)
  const asked: string[] = []
  const complaints: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  return { page, asked, complaints }
}
