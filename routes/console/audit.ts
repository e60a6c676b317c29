import { get, isAllowed, type Page } from './api.ts'
import { add, attempt, button, field, fill, h, table } from './dom.ts'
import { type Entry, type EntryFilter, entryColumns, newest } from './entries.ts'
import { followButton } from './live.ts'
import type { UserRow } from './users.ts'
import type { Place, View } from './view.ts'

/** The audit trail with filters, followed as it grows. */
export const audit: View = {
  title: 'Audit trail',
  scope: 'keyturn.audit',
  isListed: true,
  async open({ root, signal }: Place) {
    const shown = h('div')
    let current = new AbortController()
    const show = async (form: FormData) => {
      current.abort()
      current = new AbortController()
      const both = AbortSignal.any([signal, current.signal])
      const user = String(form.get('user') ?? '').trim()
      const filter = { event: String(form.get('event') ?? ''), user_id: user && (await idOf(user)) }
      await showTrail(shown, filter, both)
    }
    const onsubmit = (event: Event) => {
      event.preventDefault()
      void attempt(shown, () => show(new FormData(event.target as HTMLFormElement)))
    }
    const form = h(
      'form',
      { class: 'search', role: 'search', onsubmit },
      field('User, by name or id', 'user', { autocapitalize: 'none', spellcheck: 'false' }),
      field('Event', 'event', { list: 'events', autocapitalize: 'none', spellcheck: 'false' }),
      h(
        'datalist',
        { id: 'events' },
        events.map((value) => h('option', { value }))
      ),
      h('button', { type: 'submit', class: 'primary' }, 'Filter')
    )
    fill(root, form, shown)
    await show(new FormData(form))
  }
}

/** Events that entries may have; any other may be entered too. */
const events =
  'login refresh late_retry logout session_end session_revoke password_change password_reset password_reset_request one_time_token one_time_token_redeem revoke user_create user_password user_activate user_deactivate user_delete user_claims user_rename users_import users_export key_publish key_activate key_retire key_export keys_reseal client_create client_secret client_delete'.split(
    ' '
  )

/** The id of a user by name. Text that is not the name of a user is used as an id. */
async function idOf(text: string): Promise<string> {
  if (!isAllowed('keyturn.users.read')) return text
  const { results } = await get<Page<UserRow>>(`users/?${new URLSearchParams({ username: text })}`)
  return results[0]?.id ?? text
}

const { at, event, result, user, concerns, by } = entryColumns

async function showTrail(shown: HTMLElement, filter: EntryFilter, signal: AbortSignal): Promise<void> {
  const { element, body, row } = table('Entries, newest first', [at, event, result, user, concerns, by])
  const more = h('p')
  const placed = (entry: Entry): HTMLElement => {
    const added = row(entry)
    added.dataset.seq = `${entry.seq}`
    return added
  }
  const append = ({ results, next }: Page<Entry>) => {
    add(body, results.map(placed))
    // From the last row: those below it may have made room for new ones.
    const older = async () => append(await newest(filter, { after: Number(lastRow()), signal }))
    const lastRow = () => (body.lastElementChild as HTMLElement).dataset.seq
    fill(
      more,
      next === null ? 'This is the beginning of the trail.' : button('Show older', () => void attempt(more, older))
    )
  }
  const page = await newest(filter, { signal })
  append(page)
  const after = page.results[0]?.seq ?? 0
  fill(shown, followButton({ filter, after, body, row: placed }, signal), element, more)
}
