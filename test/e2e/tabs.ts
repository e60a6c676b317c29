/*
 * Tabs of one browser that share a session, while answers get lost or come late, a tab is frozen, another one is killed in the middle
 * of a refresh, and the service is reloaded and stopped for a while.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BrowserContext, Page } from 'playwright-core'
import type { Test } from 'tap'
import { openBrowser } from '../support/browser.ts'
import { aDataDir, type RunningKeyturn, runKeyturn, startKeyturn } from '../support/keyturn.ts'

export interface Plan {
  readonly mode: 'token' | 'cookie'
  readonly tabs: number
  /** How many times, in all tabs together, a new access token must take the place of an expiring one. */
  readonly expiries: number
  /** The share of refreshes whose answer is lost or late; half each. */
  readonly faults: number
  /** Seconds for which the service is stopped. */
  readonly outage: number
  /** REFRESH_REUSE_GRACE. */
  readonly grace: string
  /** Milliseconds between two calls of a tab. */
  readonly pause: number
}

export interface Outcome {
  readonly expiries: number
  readonly calls: number
  readonly unavailable: number
  readonly loggedOut: number
  readonly unsettled: number
  readonly refreshes: number
  readonly lost: number
  readonly late: number
  /** Refresh tokens of the session, one after the other. */
  readonly generations: number
}

interface Refresh {
  readonly status: number
  readonly lost: boolean
  readonly delayMs: number
}

interface DemoServer {
  readonly url: string
  readonly refreshes: readonly Refresh[]
  close(): void
}

interface Demo {
  startServer(options: {
    upstreams: Record<string, () => string>
    fate: () => { lose?: boolean; delayMs?: number }
  }): Promise<DemoServer>
}

/** What a tab has counted. It runs in the page. */
interface Counts {
  calls: number
  unavailable: number
  loggedOut: number
  expiries: number
  pending: number
}

const timeoutMs = 20_000

/** The tab's program, as text: it calls the API again and again and counts how the calls end. */
const program = ({ mode, pause }: Plan): string => `(async () => {
  const { createClient, localStorageStorage, tabStorage, LoggedOut } = await import('/client/index.js')
  const counts = (window.counts = { calls: 0, unavailable: 0, loggedOut: 0, expiries: 0, pending: 0 })
  const client = (window.client = createClient({
    baseUrl: location.origin + '/${mode}', mode: '${mode}', timeoutMs: ${timeoutMs},
    storage: ${mode === 'token' ? 'localStorageStorage()' : 'tabStorage()'},
    onLoggedOut: () => counts.loggedOut++
  }))
  window.start = async () => {
    let last
    window.running = true
    while (window.running) {
      counts.calls++
      counts.pending++
      try {
        await client.fetch(location.origin + '/api/orders')
        const token = await client.getAccessToken()
        if (token !== last && last !== undefined) counts.expiries++
        last = token
      } catch (error) {
        if (error instanceof LoggedOut) counts.loggedOut++
        else counts.unavailable++
      }
      counts.pending--
      await new Promise((resolve) => setTimeout(resolve, ${pause}))
    }
  }
})()`

async function openTab(context: BrowserContext, url: string, plan: Plan): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${url}/blank`)
  await page.evaluate(program(plan))
  return page
}

const start = (page: Page) => page.evaluate('void window.start()')

class Tabs {
  readonly #plan: Plan
  readonly #context: BrowserContext
  readonly #url: string
  readonly pages: Page[] = []
  readonly #gone: Counts[] = []

  constructor(plan: Plan, context: BrowserContext, url: string) {
    this.#plan = plan
    this.#context = context
    this.#url = url
  }

  async open(): Promise<Page> {
    const page = await openTab(this.#context, this.#url, this.#plan)
    this.pages.push(page)
    return page
  }

  /** The sum over all tabs. A frozen one is not asked. */
  async count(except?: Page): Promise<Counts> {
    const asked = this.pages.filter((page) => page !== except)
    const counts = await Promise.all(asked.map((page) => page.evaluate<Counts>('({ ...window.counts })')))
    const sum = { calls: 0, unavailable: 0, loggedOut: 0, expiries: 0, pending: 0 }
    for (const each of [...counts, ...this.#gone])
      for (const key of Object.keys(sum) as (keyof Counts)[]) sum[key] += each[key]
    return sum
  }

  /** Ends the process of a tab while its refresh is under way, and opens another one. */
  async killInRefresh(): Promise<void> {
    const [page] = this.pages
    if (page === undefined) return
    this.#gone.push({ ...(await page.evaluate<Counts>('({ ...window.counts })')), pending: 0 })
    const crashed = new Promise((resolve) => page.once('crash', resolve))
    const session = await this.#context.newCDPSession(page)
    const asked = page.waitForRequest((request) => request.url().endsWith('/api/token/refresh/'))
    void page.evaluate('void client.getAccessToken().then((token) => client.getAccessToken(token))').catch(() => {})
    await asked
    void session.send('Page.crash').catch(() => {})
    await crashed
    this.pages.shift()
    await start(await this.open())
  }

  async setFrozen(page: Page, isFrozen: boolean): Promise<void> {
    const session = await this.#context.newCDPSession(page)
    await session.send('Page.setWebLifecycleState', { state: isFrozen ? 'frozen' : 'active' })
    await session.detach()
  }
}

async function startWithUser(t: Pick<Test, 'teardown'>, { grace, mode }: Plan, origin: string) {
  const cookies = { COOKIE_MODE: 'on', COOKIE_ORIGINS: origin }
  const env = {
    DATA_DIR: aDataDir(t),
    ACCESS_TOKEN_LIFETIME: '2s',
    REFRESH_REUSE_GRACE: grace,
    ...(mode === 'cookie' && cookies)
  }
  await runKeyturn(['users', 'create', 'vitor'], env, 'correct horse')
  const service: { running: RunningKeyturn } = { running: await startKeyturn(t, env) }
  const { url } = service.running
  const restart = async () => {
    service.running = await startKeyturn(t, { ...env, PORT: new URL(url).port })
  }
  return { url, service, restart }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(250)
}

export async function runTabs(t: Pick<Test, 'teardown'>, plan: Plan): Promise<Outcome> {
  const { startServer } = (await import(new URL('../../../examples/browser/server.mjs', import.meta.url).href)) as Demo
  let count = 0
  const fate = () => {
    // Evenly spread, without chance: as many faults in a short run as in a long one.
    const isFaulty = Math.floor(++count * plan.faults) > Math.floor((count - 1) * plan.faults)
    if (!isFaulty) return {}
    return count % 2 === 0 ? { lose: true } : { delayMs: 500 + (count % 7) * 700 }
  }
  let upstream = ''
  const server = await startServer({ upstreams: { [plan.mode]: () => upstream }, fate })
  t.teardown(() => server.close())
  const { url, service, restart } = await startWithUser(t, plan, server.url)
  upstream = url
  const context = await (await openBrowser(t)).newContext()
  const tabs = new Tabs(plan, context, server.url)
  for (let index = 0; index < plan.tabs; index++) await tabs.open()
  await tabs.pages[0]?.evaluate("client.login('vitor', 'correct horse')")
  await Promise.all(tabs.pages.map(start))
  const reached = async (share: number, except?: Page) => {
    await until(async () => (await tabs.count(except)).expiries >= share * plan.expiries)
  }

  const frozen = tabs.pages.at(-1) as Page
  await reached(0.1)
  await tabs.setFrozen(frozen, true)
  await tabs.killInRefresh()
  await reached(0.3, frozen)
  service.running.child.kill('SIGHUP')
  await reached(0.5, frozen)
  await service.running.stop()
  await sleep(plan.outage * 1000)
  await restart()
  await reached(0.7, frozen)
  await tabs.setFrozen(frozen, false)
  await reached(1)

  await Promise.all(tabs.pages.map((page) => page.evaluate('void (window.running = false)')))
  const stopped = performance.now()
  await until(async () => (await tabs.count()).pending === 0 || performance.now() - stopped > 2 * timeoutMs)
  const { expiries, calls, unavailable, loggedOut, pending } = await tabs.count()
  const stored = await tabs.pages[1]?.evaluate<string>("localStorage.getItem('keyturn')")
  return {
    expiries,
    calls,
    unavailable,
    loggedOut,
    unsettled: pending,
    refreshes: server.refreshes.length,
    lost: server.refreshes.filter(({ lost }) => lost).length,
    late: server.refreshes.filter(({ delayMs }) => delayMs > 0).length,
    generations: JSON.parse(stored ?? '{}').step
  }
}
