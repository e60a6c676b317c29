import { ask } from './acts.ts'
import { call, get, isAllowed, type Page } from './api.ts'
import { add, announce, attempt, badge, button, field, fill, h, table } from './dom.ts'
import { hrefOfUser } from './entries.ts'
import { time } from './time.ts'
import type { Place, View } from './view.ts'

export interface UserRow {
  readonly id: string
  readonly username: string
  readonly is_active: boolean
  readonly created_at: string
  readonly last_login_at: string | null
  readonly claims: Readonly<Record<string, unknown>>
}

export const activity = ({ is_active }: UserRow): HTMLElement =>
  is_active ? badge('active', 'good') : badge('inactive', 'warn')

const columns = [
  { name: 'Username', show: ({ id, username }: UserRow) => h('a', { href: hrefOfUser(id) }, username) },
  { name: 'State', show: activity },
  { name: 'Created', show: ({ created_at }: UserRow) => time(created_at) },
  { name: 'Last login', show: ({ last_login_at }: UserRow) => time(last_login_at) }
]

/** Users, found by the beginning of their names. */
export const users: View = {
  title: 'Users',
  scope: 'keyturn.users.read',
  isListed: true,
  async open({ root, signal }: Place) {
    const found = h('div')
    const onsubmit = (event: Event) => {
      event.preventDefault()
      const text = new FormData(event.target as HTMLFormElement).get('search')
      void attempt(found, () => search(found, String(text ?? ''), signal))
    }
    const input = field('Username begins with', 'search', {
      type: 'search',
      spellcheck: 'false',
      autocapitalize: 'none'
    })
    const create = isAllowed('keyturn.users') && button('Create user', () => void createUser())
    fill(
      root,
      h(
        'form',
        { class: 'search', role: 'search', onsubmit },
        input,
        h('button', { type: 'submit', class: 'primary' }, 'Find'),
        create
      ),
      found
    )
    await search(found, '', signal)
  }
}

async function search(found: HTMLElement, text: string, signal: AbortSignal): Promise<void> {
  const { element, body, row } = table('Users by name', columns)
  const more = h('p')
  fill(found, element, more)
  const load = async (after: string | number | null) => {
    const query = new URLSearchParams({
      limit: '50',
      ...(text && { search: text }),
      ...(after && { after: `${after}` })
    })
    const { results, next } = await get<Page<UserRow>>(`users/?${query}`, signal)
    add(body, results.map(row))
    fill(more, next !== null && button('Show more', () => void attempt(more, () => load(next))))
    const count = body.childElementCount
    if (count === 0 && next === null) fill(more, 'There is no such user.')
    announce(`${count} users${next === null ? '' : ', and more'}`)
  }
  await load(null)
}

async function createUser(): Promise<void> {
  let created: UserRow | undefined
  const isDone = await ask<UserRow>({
    title: 'Create a user?',
    text: 'Without a password, no login succeeds until the user sets one with an invitation.',
    button: 'Create user',
    fields: [
      field('Username', 'username', { required: true, maxlength: 254, autocapitalize: 'none', spellcheck: 'false' }),
      field('Password', 'password', { type: 'password', autocomplete: 'new-password' }, 'Optional')
    ],
    entries: { event: 'user_create' },
    run(form) {
      const password = form.get('password')
      return call('POST', 'users/', { username: form.get('username'), ...(password !== '' && { password }) })
    },
    done(user) {
      created = user
      return h('p', {}, 'The user ', h('b', {}, user.username), ' has been created.')
    }
  })
  if (isDone && created !== undefined) location.hash = hrefOfUser(created.id)
}
