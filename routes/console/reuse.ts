import { get, isAllowed } from './api.ts'
import { type Content, field, fill, h, table } from './dom.ts'
import { type Entry, type EntryFilter, entryColumns, explain, hrefOfUser, newest, verdictOf } from './entries.ts'
import { followButton } from './live.ts'
import type { UserRow } from './users.ts'
import type { Place, View } from './view.ts'

const { at, result, concerns, by } = entryColumns
const meaning = { name: 'Meaning', show: explain }

/** The names of users by id, each looked up once and one after the other. */
const names = new Map<string, Promise<string>>()
let lookup: Promise<unknown> = Promise.resolve()

function nameOf(id: string): Promise<string> {
  const known = names.get(id)
  if (known !== undefined) return known
  const name = lookup.then(() => get<UserRow>(`users/${encodeURIComponent(id)}/`)).then(({ username }) => username)
  lookup = name.catch(() => {})
  names.set(id, name)
  return name
}

/** A link to the user, with the name once it is known; a deleted user stays an id. */
const user = {
  name: 'User',
  show({ user_id: id }: Entry): Content {
    if (id === null) return '–'
    const link = h('a', { href: hrefOfUser(id) }, id)
    if (isAllowed('keyturn.users.read'))
      nameOf(id).then(
        (name) => fill(link, name),
        () => {}
      )
    return link
  }
}

/** Which verdicts may be a theft; the others are shown on request. */
const isSuspicious = (entry: Entry): boolean => ['reused', 'late'].includes(verdictOf(entry) ?? '')

/** Reuse and late retries, each explained in a sentence, as they happen. */
export const reuse: View = {
  title: 'Reuse',
  scope: 'keyturn.audit',
  isListed: true,
  async open({ root, signal }: Place) {
    const filters: readonly EntryFilter[] = [{ event: 'late_retry' }, { event: 'refresh' }]
    // Read before them, so that what comes in between is not missed.
    const after = (await newest({}, { limit: 1, signal })).results[0]?.seq ?? 0
    const pages = await Promise.all(filters.map((filter) => newest(filter, { limit: 200, signal })))
    const entries = pages.flatMap(({ results }) => results).toSorted((a, b) => b.seq - a.seq)
    const { element, body, row } = table('Reuse and late retries, newest first', [
      at,
      result,
      user,
      meaning,
      concerns,
      by
    ])
    const marked = (entry: Entry): HTMLElement => {
      const added = row(entry)
      if (!isSuspicious(entry)) added.classList.add('other')
      return added
    }
    body.append(...entries.map(marked))
    element.classList.add('suspicious-only')
    const onchange = (event: Event) =>
      element.classList.toggle('suspicious-only', !(event.target as HTMLInputElement).checked)
    const last = entries[0]?.seq ?? 0
    const isNew = (entry: Entry) => entry.seq > last && verdictOf(entry) !== undefined
    const followed = { filter: {}, after, body, row: (entry: Entry) => (isNew(entry) ? marked(entry) : undefined) }
    fill(
      root,
      about(),
      followButton(followed, signal),
      field('Show the other verdicts too', 'all', { type: 'checkbox', onchange }),
      element
    )
  }
}

const about = (): HTMLElement =>
  h(
    'p',
    {},
    'A reuse ends its session. A late retry does not: it is most likely a lost response, and a second one within eight rotations is a reuse. The newest 200 late retries and 200 other verdicts are shown.'
  )
