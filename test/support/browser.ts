/** A headless browser for one test. */
import { type Browser, chromium } from 'playwright-core'
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
