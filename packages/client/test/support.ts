/* A logged-in tab, its calls, and what the network answers: the beginning of most tests. */
import { accessLifetime, type Fate, type Tab, World } from './world.ts'

export const api = 'https://api.example/orders'
/** After so many milliseconds, every instance refreshes its token early. */
export const due = accessLifetime * 1000 * 0.95
export const expired = accessLifetime * 1000 + 1000
export const get = (tab: Tab) => tab.call('fetch', (client) => client.fetch(api))

export async function logIn(world: World, tab: Tab): Promise<void> {
  const call = tab.call('login', (client) => client.login('vitor', 'correct horse'))
  await world.pass(1000)
  if (call.outcome !== 'resolved') throw call.outcome
}

export async function aLoggedInTab(options: ConstructorParameters<typeof Tab>[1] = {}) {
  const world = new World()
  const tab = world.openTab(options)
  await logIn(world, tab)
  return { world, tab }
}

export const only = (path: string, fate: Fate) => (sent: { readonly path: string }) => (sent.path === path ? fate : {})
export const refreshOnly = (fate: Fate) => only('/api/token/refresh/', fate)
export const reply = (status: number, body?: unknown, headers: Record<string, string> = {}): Fate => ({
  instead: { status, body, headers }
})
