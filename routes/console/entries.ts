import { get, isAllowed, type Page } from './api.ts'
import { badge, type Content, type Column, h } from './dom.ts'
import { time } from './time.ts'

/** An entry of the audit trail. */
export interface Entry {
  readonly seq: number
  readonly at: string
  readonly event: string
  readonly result: string
  readonly user_id: string | null
  readonly sid: string | null
  readonly object: string | null
  readonly actor: string | null
  readonly ip: string | null
  readonly request_id: string
}

/** Which entries are wanted; empty texts exclude none. */
export interface EntryFilter {
  readonly user_id?: string
  readonly event?: string
}

const verdicts: Readonly<Record<string, readonly [kind: 'good' | 'warn' | 'bad' | 'plain', sentence: string]>> = {
  reused: [
    'bad',
    'A superseded refresh token was presented after the grace: it was stolen, or the client is faulty. The session and its access tokens have ended.'
  ],
  late: [
    'warn',
    'The client sent its previous refresh token again, after the grace, and the next one had never been presented: most likely it lost a response. It received the same next token, which is granted once in eight rotations.'
  ],
  retried: [
    'plain',
    'The client sent a refresh token again within the grace, as after a lost response or from two tabs at once. It received the newest token.'
  ],
  recovered: [
    'warn',
    'The refresh token was newer than the store knew: the store had lost a write, as in a failover. The session continues from the token.'
  ],
  unknown: ['plain', 'The session of the refresh token had ended or never existed. The refresh was refused.'],
  user_gone: ['warn', 'The user has been deactivated or deleted. The refresh was refused.'],
  password_changed: ['plain', 'The password has changed since the login. The refresh was refused.']
}

/** The verdict of a refresh or late retry; undefined for other entries. */
export function verdictOf({ event, result }: Entry): string | undefined {
  if (event === 'late_retry') return 'late'
  return event === 'refresh' ? result : undefined
}

/** Explains the verdict of an entry in a sentence; for a late retry also how its two addresses compare. */
export function explain(entry: Entry): string {
  const verdict = verdictOf(entry) ?? ''
  const [, sentence = ''] = verdicts[verdict] ?? []
  if (verdict !== 'late' || entry.object === null) return sentence
  return entry.object === entry.ip
    ? `${sentence} It came from the address of the login.`
    : `${sentence} It came from ${entry.ip}, the login from ${entry.object}: check that the user has both.`
}

/** A link to a user. */
const userLink = (id: string | null): Content => (id === null ? '–' : h('a', { href: hrefOfUser(id) }, id))
export const hrefOfUser = (id: string): string => `#user/${encodeURIComponent(id)}`

const result = (entry: Entry): Content => {
  const verdict = verdictOf(entry)
  if (verdict !== undefined) return badge(verdict, verdicts[verdict]?.[0])
  return entry.result === 'ok' ? entry.result : badge(entry.result, 'warn')
}

/** Columns that all tables of entries have. */
export const entryColumns: Readonly<Record<'at' | 'event' | 'result' | 'user' | 'concerns' | 'by', Column<Entry>>> = {
  at: { name: 'Time', show: ({ at }) => time(at) },
  event: { name: 'Event', show: ({ event }) => h('code', {}, event) },
  result: { name: 'Result', show: result },
  user: { name: 'User', show: ({ user_id }) => userLink(user_id) },
  concerns: {
    name: 'Concerns',
    show: ({ event, sid, object }) => [
      sid !== null && h('span', { title: sid }, `session ${sid.slice(0, 8)} `),
      event === 'late_retry' && 'of a login from ',
      object
    ]
  },
  by: { name: 'By', show: ({ actor, ip }) => [actor, ' ', ip !== null && h('span', { class: 'tight' }, ip)] }
}

/** The newest entries that match, newest first; `after` continues a page. */
export const newest = (
  filter: EntryFilter,
  {
    after,
    limit = 100,
    signal
  }: { readonly after?: number; readonly limit?: number; readonly signal?: AbortSignal } = {}
): Promise<Page<Entry>> => get<Page<Entry>>(`audit/?${queryOf({ ...filter, order: 'desc', after, limit })}`, signal)

/** The query with these values, without those that are empty. */
export const queryOf = (values: Readonly<Record<string, string | number | undefined>>): string =>
  new URLSearchParams(
    Object.entries(values).flatMap(([name, value]) => (value === undefined || value === '' ? [] : [[name, `${value}`]]))
  ).toString()

/** The entries of one request. They are in the trail before the request is answered. */
export async function entriesOf(requestId: string, filter: EntryFilter): Promise<readonly Entry[]> {
  if (!isAllowed('keyturn.audit')) return []
  const { results } = await newest(filter, { limit: 200 })
  return results.filter(({ request_id }) => request_id === requestId)
}
