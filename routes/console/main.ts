import { isAllowed, logIn, logOut, session } from './api.ts'
import { audit } from './audit.ts'
import { clients } from './clients.ts'
import { alertOf, announce, field, fill, h, printable } from './dom.ts'
import { keys } from './keys.ts'
import { overview } from './overview.ts'
import { reuse } from './reuse.ts'
import { user } from './user.ts'
import { users } from './users.ts'
import type { View } from './view.ts'

const views: Readonly<Record<string, View>> = { overview, users, user, audit, reuse, keys, clients }

const element = <Type extends Element>(selector: string): Type => document.querySelector<Type>(selector) as Type
const [main, nav, operator] = [
  element<HTMLElement>('main'),
  element<HTMLElement>('nav'),
  element<HTMLElement>('.operator')
]

let current = new AbortController()
let isLoggedIn = false

const allowed = (): readonly (readonly [name: string, view: View])[] =>
  Object.entries(views).filter(([, { scope }]) => isAllowed(scope))

/** Opens the view that the address names, or the first one that the operator may use. */
async function open(): Promise<void> {
  current.abort()
  current = new AbortController()
  const { signal } = current
  const [name = '', argument = ''] = location.hash.slice(1).split('/')
  const [first] = allowed()
  const [wanted, view] = allowed().find(([each]) => each === name) ?? first ?? ['', overview]
  for (const link of nav.querySelectorAll('a')) {
    // A user is one of the users.
    if (link.hash === `#${wanted === 'user' ? 'users' : wanted}`) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  document.title = `${view.title} – Keyturn console`
  const heading = h('h1', { tabindex: -1 }, view.title)
  const root = h('div', { 'aria-busy': 'true' })
  fill(main, heading, root)
  heading.focus()
  announce('')
  try {
    await view.open({ root, argument: decodeURIComponent(argument), signal, reload: () => void open() })
  } catch (error) {
    if (!signal.aborted) fill(root, alertOf(error))
  } finally {
    root.removeAttribute('aria-busy')
  }
}

function showLogin(message?: string): void {
  current.abort()
  isLoggedIn = false
  for (const dialog of document.querySelectorAll('dialog')) dialog.close()
  nav.hidden = operator.hidden = true
  document.title = 'Log in – Keyturn console'
  const problem = h('div', {}, message && alertOf(message))
  const submit = h('button', { type: 'submit', class: 'primary' }, 'Log in')
  const onsubmit = (event: Event) => {
    event.preventDefault()
    void start(new FormData(event.target as HTMLFormElement))
  }
  const start = async (form: FormData) => {
    submit.disabled = true
    fill(problem)
    try {
      const username = String(form.get('username'))
      await logIn(username, String(form.get('password')))
      showViews(username)
    } catch (error) {
      fill(problem, alertOf(error))
    } finally {
      submit.disabled = false
    }
  }
  const username = { required: true, autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false' }
  const password = { required: true, type: 'password', autocomplete: 'current-password' }
  const fields = [field('Username', 'username', username), field('Password', 'password', password)]
  fill(main, h('form', { class: 'login', onsubmit }, h('h1', {}, 'Log in'), fields, problem, h('p', {}, submit)))
  element<HTMLInputElement>('#field-username').focus()
}

function showViews(username: string): void {
  isLoggedIn = true
  element('.operator span').textContent = printable(username)
  const listed = allowed().filter(([, { isListed }]) => isListed)
  fill(
    nav,
    h(
      'ul',
      {},
      listed.map(([name, { title }]) => h('li', {}, h('a', { href: `#${name}` }, title)))
    )
  )
  nav.hidden = operator.hidden = false
  void open()
}

session.onEnd = showLogin
element('.operator button').addEventListener('click', () => {
  showLogin()
  void logOut()
})
element('.skip').addEventListener('click', (event) => {
  // Not by the address, which names the view.
  event.preventDefault()
  main.focus()
})
addEventListener('hashchange', () => isLoggedIn && void open())
showLogin()
