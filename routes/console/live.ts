import { request } from './api.ts'
import { alertOf, announce, button, fill, h } from './dom.ts'
import { type Entry, type EntryFilter, queryOf } from './entries.ts'
import { pause } from './time.ts'

export interface Followed {
  readonly filter: EntryFilter
  /** Entries up to this position are shown already. */
  readonly after: number
  /** Rows are added at the top of it. */
  readonly body: HTMLElement
  /** The row of an entry; undefined for an entry that is not shown. */
  row(entry: Entry): HTMLElement | undefined
}

/** How long to wait before a stream that has ended is opened again. */
const intervalMs = 1000

/** Rows that a followed table keeps. */
const maxRows = 1000

/** A switch, on at first, that has new entries appear at the top of a table, until `signal` is aborted. */
export function followButton({ filter, after, body, row }: Followed, signal: AbortSignal): HTMLElement {
  const problem = h('span')
  let position = after
  let current: AbortController | undefined
  const show = (entries: readonly Entry[]) => {
    position = entries.at(-1)?.seq ?? position
    const rows = entries.map(row).filter((each) => each !== undefined)
    for (const each of rows) {
      each.classList.add('new')
      body.prepend(each)
    }
    while (body.childElementCount > maxRows) body.lastElementChild?.remove()
    const count = rows.filter((each) => each.checkVisibility()).length
    if (count > 0) announce(count === 1 ? '1 new entry' : `${count} new entries`)
  }
  const start = async () => {
    current = new AbortController()
    toggle.setAttribute('aria-pressed', 'true')
    const both = AbortSignal.any([signal, current.signal])
    while (!both.aborted) {
      try {
        await readStream(queryOf({ ...filter, after: position }), both, () => fill(problem), show)
      } catch (error) {
        if (!both.aborted) fill(problem, alertOf(error))
      }
      await pause(intervalMs, both)
    }
  }
  const stop = () => {
    current?.abort()
    current = undefined
    fill(problem)
    toggle.setAttribute('aria-pressed', 'false')
  }
  const toggle = button('Follow live', () => (current === undefined ? void start() : stop()))
  toggle.classList.add('live')
  void start()
  return h('div', { class: 'buttons' }, toggle, problem)
}

/**
 * Reads the audit trail as a stream until it ends, as it does with the access token, or `signal` is aborted. An EventSource could
 * not send the token. Throws like `request`.
 */
async function readStream(
  query: string,
  signal: AbortSignal,
  opened: () => void,
  show: (entries: readonly Entry[]) => void
): Promise<void> {
  const response = await request('GET', `audit/?${query}`, { accept: 'text/event-stream', signal })
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  opened()
  let text = ''
  for (;;) {
    const part = await reader?.read()
    if (part === undefined || part.done) return
    const events = `${text}${part.value}`.split('\n\n')
    text = events.pop() ?? ''
    const entries = events.filter((event) => event.startsWith('event: entry\n'))
    if (entries.length > 0) show(entries.map(entryOf))
  }
}

const entryOf = (event: string): Entry => JSON.parse(event.slice(event.indexOf('\ndata: ') + '\ndata: '.length))
