import { ask, secret } from './acts.ts'
import { call, get, isAllowed, ownSession, type Page } from './api.ts'
import { add, attempt, badge, button, type Content, field, fill, h, list, printable, table } from './dom.ts'
import { type Entry, entryColumns, explain, newest, verdictOf } from './entries.ts'
import { time } from './time.ts'
import { activity, type UserRow } from './users.ts'
import type { Place, View } from './view.ts'

interface Session {
  readonly id: string
  readonly created_at: string
  readonly last_used_at: string
  readonly expires_at: string
  readonly ip: string
  readonly user_agent: string
  readonly refreshes: number
}

type UserDetail = UserRow & { readonly sessions: number }

/** One user: sessions with their devices, last refreshes and verdicts, and what an operator may do about them. */
export const user: View = {
  title: 'User',
  scope: 'keyturn.users.read',
  isListed: false,
  async open(place: Place) {
    const { root, argument: id, signal } = place
    const path = `users/${encodeURIComponent(id)}/`
    const detail = await get<UserDetail>(path, signal)
    fill(root, h('h2', {}, detail.username), describe(detail), buttonsOf(detail, path, place))
    if (isAllowed('keyturn.sessions')) await showSessions(detail, path, place)
    if (isAllowed('keyturn.audit')) await showEntries(detail, place)
  }
}

const describe = (detail: UserDetail): HTMLElement =>
  list([
    ['State', activity(detail)],
    ['Sessions', detail.sessions],
    ['Last login', time(detail.last_login_at)],
    ['Created', time(detail.created_at)],
    ['Id', h('code', {}, detail.id)],
    ['Claims', h('code', {}, JSON.stringify(detail.claims))]
  ])

const buttonsOf = (detail: UserDetail, path: string, place: Place): HTMLElement =>
  h(
    'p',
    { class: 'buttons' },
    isAllowed('keyturn.sessions') && button('End all sessions', () => void endAll(detail, path, place), 'danger'),
    isAllowed('keyturn.users') && [
      button('Reset link', () => void issueLink(detail, path)),
      detail.is_active
        ? button('Deactivate', () => void setActive(detail, path, place, false), 'danger')
        : button('Activate', () => void setActive(detail, path, place, true))
    ]
  )

async function showSessions(detail: UserDetail, path: string, place: Place): Promise<void> {
  const { element, body, row } = table<Session>(`Sessions of ${detail.username}`, [
    { name: 'Device', show: ({ user_agent }) => user_agent || 'unknown' },
    { name: 'Address', show: ({ ip }) => h('span', { class: 'tight' }, ip) },
    { name: 'Login', show: ({ created_at }) => time(created_at) },
    { name: 'Last refresh', show: ({ last_used_at, refreshes }) => (refreshes === 0 ? 'none' : time(last_used_at)) },
    { name: 'Refreshes', show: ({ refreshes }) => refreshes },
    { name: 'Expires', show: ({ expires_at }) => time(expires_at) },
    { name: 'End', show: (session) => endButton(session, detail, path, place) }
  ])
  const more = h('p')
  add(place.root, [element, more])
  const load = async (after: string | number | null) => {
    const query = after === null ? '' : `&after=${encodeURIComponent(after)}`
    const { results, next } = await get<Page<Session>>(`${path}sessions/?limit=50${query}`, place.signal)
    add(body, results.map(row))
    fill(more, next !== null && button('Show more', () => void attempt(more, () => load(next))))
    if (body.childElementCount === 0) fill(more, 'There is no live session.')
  }
  await load(null)
}

function endButton(session: Session, detail: UserDetail, path: string, { reload }: Place): Content {
  const isOwn = session.id === ownSession()
  const run = async () => {
    const isDone = await ask<undefined>({
      title: isOwn ? 'End your own session?' : 'End this session?',
      text: `The session of ${detail.username} on ${session.user_agent || 'an unknown device'} ends, and all its tokens are refused from then on.`,
      button: 'End session',
      isDangerous: true,
      entries: { user_id: detail.id, event: 'session_revoke' },
      run: () => call('DELETE', `${path}sessions/${session.id}/`),
      done: () => h('p', {}, 'The session has ended.')
    })
    if (isDone) reload()
  }
  const end = button('End', () => void run(), 'danger')
  end.setAttribute('aria-label', printable(`End the session on ${session.user_agent || 'an unknown device'}`))
  return [isOwn && [badge('yours'), ' '], end]
}

async function endAll(detail: UserDetail, path: string, { reload }: Place): Promise<void> {
  const isDone = await ask<{ ended: number }>({
    title: `End all sessions of ${detail.username}?`,
    text: 'All tokens of the user are refused from then on. The user can log in again.',
    button: 'End all sessions',
    isDangerous: true,
    entries: { user_id: detail.id, event: 'session_revoke' },
    run: () => call('DELETE', `${path}sessions/`),
    done: ({ ended }) => h('p', {}, ended === 1 ? '1 session has ended.' : `${ended} sessions have ended.`)
  })
  if (isDone) reload()
}

async function setActive(detail: UserDetail, path: string, { reload }: Place, isActive: boolean): Promise<void> {
  const isDone = await ask<UserRow>({
    title: `${isActive ? 'Activate' : 'Deactivate'} ${detail.username}?`,
    text: isActive
      ? 'The user may log in and refresh again.'
      : 'All sessions of the user end, and no login succeeds until the user is activated again.',
    button: isActive ? 'Activate' : 'Deactivate',
    isDangerous: !isActive,
    entries: { user_id: detail.id, event: isActive ? 'user_activate' : 'user_deactivate' },
    run: () => call('PATCH', path, { is_active: isActive }),
    done: ({ username, is_active }) => h('p', {}, `${username} is ${is_active ? 'active' : 'inactive'} now.`)
  })
  if (isDone) reload()
}

/** The address of the page to which links lead, as entered last. */
let pageOfLinks = ''

async function issueLink(detail: UserDetail, path: string): Promise<void> {
  const input = field(
    'Address of your reset page',
    'page',
    { type: 'url', value: pageOfLinks, placeholder: 'https://app.example/reset?token=' },
    'The token is appended. Without an address only the token is shown.'
  )
  await ask<{ token: string; expires_at: string }>({
    title: `Issue a reset link for ${detail.username}?`,
    text: 'With the link, the user can set a new password once. Earlier links are no longer valid.',
    button: 'Issue link',
    fields: [input],
    entries: { user_id: detail.id, event: 'one_time_token' },
    run(form) {
      pageOfLinks = String(form.get('page') ?? '')
      return call('POST', `${path}one-time-tokens/`, { purpose: 'password_reset' })
    },
    done: ({ token, expires_at }) => [
      h('p', {}, 'Send this to the user. It is not shown again, and valid until ', time(expires_at), '.'),
      secret(`${pageOfLinks}${token}`)
    ]
  })
}

async function showEntries({ id, username }: UserDetail, { root, signal }: Place): Promise<void> {
  const { results } = await newest({ user_id: id }, { signal })
  const { at, event, result, concerns, by } = entryColumns
  const judged = results.filter((entry) => verdictOf(entry) !== undefined)
  const meaning = { name: 'Meaning', show: explain }
  add(root, [
    table(`Refreshes of ${username} with a verdict`, [at, result, meaning, concerns, by], judged).element,
    h(
      'p',
      { class: 'note' },
      judged.length === 0 && 'The newest entries of the user have none. ',
      'Ordinary refreshes have no entry; the list of sessions shows when the last one was.'
    ),
    table<Entry>(
      `Other entries of ${username} in the audit trail, newest first`,
      [at, event, result, concerns, by],
      results.filter((entry) => !judged.includes(entry))
    ).element
  ])
}
