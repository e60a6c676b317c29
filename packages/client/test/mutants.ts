/* The rules of the state machine, each broken once, by a stand-in for a decision, for the timers or for the storage. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { KeyturnClient } from '../src/client.ts'
import * as rules from '../src/rules.ts'
import { noSession, type Session } from '../src/session.ts'
import type { Broken } from './histories.ts'

interface Mutant extends Broken {
  readonly title: string
  readonly decisions?: Partial<typeof rules>
  /** What is written in client.js, and what in its place. */
  readonly code?: readonly [written: string, instead: string]
}

const { isNewer, isRefused } = rules
const timeout = 30_000

export const mutants: readonly Mutant[] = [
  { title: 'R1: each call makes a refresh of its own', code: ['if (this.#renewal)', 'if (false)'] },
  {
    title: 'R2: the storage is read once, and other tabs are not heard',
    storage(storage) {
      let known: Session | undefined
      return {
        load: async () => {
          known ??= await storage.load()
          return known
        },
        save: (session) => {
          known = session
          return storage.save(session)
        }
      }
    }
  },
  {
    title: 'R3: the answer that comes last wins',
    code: ['isNewer(this.#session, loaded)', 'this.#session.refresh !== loaded?.refresh']
  },
  { title: 'R4: a token is used until a service refuses it', decisions: { ageOf: () => 0 } },
  {
    title: 'R5: an outage ends the session',
    decisions: { isRefused: (answer) => answer.status >= 500 || isRefused(answer) }
  },
  {
    title: 'R5: a limit ends the session',
    decisions: { isRefused: (answer) => answer.status === 429 || isRefused(answer) }
  },
  { title: 'R5: Retry-After is ignored', decisions: { waitAfter: () => 0.5 } },
  {
    title: 'R6: a 401 of a proxy ends the session',
    decisions: { isRefused: (answer) => answer.status === 401 }
  },
  {
    title: 'R6: a 401 of the service does not end the session',
    decisions: { isRefused: () => false }
  },
  {
    title: 'R7: tokens that come after a logout are taken',
    decisions: {
      isNewer: (a = noSession, b = noSession) =>
        (b.ended > 0 && a.ended === 0) ||
        (b.ended === a.ended && isNewer(a, b)) ||
        (a.ended > 0 && b.since > 0 && b.ended === 0 && isNewer(a, b))
    }
  },
  { title: 'R7: tabs do not hear of each other', storage: ({ load, save }) => ({ load, save }) },
  {
    title: 'R8: calls have no timeout',
    options: (world, tab) => ({
      runtime: {
        Date: { now: () => world.clock.wall },
        Math: { random: () => world.random() },
        setTimeout: (then, ms) => (ms === timeout ? () => {} : world.clock.set(ms, then, tab(), true)),
        clearTimeout: (cancel) => (cancel as () => void)()
      }
    })
  },
  {
    title: 'R9: a subscription is not ended',
    storage: (storage) => ({
      ...storage,
      subscribe: (listener) => {
        storage.subscribe?.(listener)
        return () => {}
      }
    })
  }
]

const source = new URL('../src/', import.meta.url)

/**
 * Runs `work` with the client of a mutant: a copy of client.js that imports the decisions of the mutant where it has one, and the
 * modules of the package for the rest.
 */
export async function withMutant<T>(
  { decisions = {}, code, ...broken }: Mutant,
  work: (broken: Broken) => Promise<T>
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-mutant-'))
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text)
  try {
    write('package.json', '{"type":"module"}')
    for (const name of readdirSync(source).filter((each) => each.endsWith('.js')))
      write(name, `export * from ${JSON.stringify(new URL(name, source))}\n`)
    Object.assign(globalThis, { decisions })
    const replaced = `export const { ${Object.keys(decisions)} } = globalThis.decisions\n`
    write('rules.js', readFileSync(join(folder, 'rules.js'), 'utf8') + replaced)
    const [written, instead] = code ?? ['', '']
    const original = readFileSync(new URL('client.js', source), 'utf8')
    if (!original.includes(written)) throw new Error(`client.js has no ${written}`)
    write('client.js', original.replace(written, instead))
    const copy: { KeyturnClient: typeof KeyturnClient } = await import(pathToFileURL(join(folder, 'client.js')).href)
    return await work({ ...broken, client: copy.KeyturnClient })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
