import { type Answer, isAllowed } from './api.ts'
import { alertOf, button, type Content, fill, h, list } from './dom.ts'
import { entriesOf, type Entry, type EntryFilter, entryColumns } from './entries.ts'

/** Something that changes the service. */
export interface Act<Body> {
  /** A question. */
  readonly title: string
  /** What will happen. */
  readonly text: string
  readonly button: string
  readonly isDangerous?: boolean
  readonly fields?: readonly HTMLElement[]
  /** Finds the entries of the act in the audit trail. */
  readonly entries: EntryFilter
  run(form: FormData): Promise<Answer<Body>>
  /** What has happened. */
  done(body: Body): Content
}

/** Asks for confirmation, acts, and shows the result and its entry in the audit trail. Returns whether the act was carried out. */
export function ask<Body>(act: Act<Body>): Promise<boolean> {
  const state = { isRunning: false, isDone: false }
  const heading = h('h2', { id: 'dialog-title', tabindex: -1 }, act.title)
  const problem = h('div')
  const cancel = button('Cancel', () => dialog.close())
  const confirm = h('button', { type: 'submit', class: act.isDangerous ? 'danger' : 'primary' }, act.button)
  const start = async (form: FormData) => {
    state.isRunning = confirm.disabled = cancel.disabled = true
    fill(problem)
    try {
      const answer = await act.run(form)
      state.isDone = true
      await showOutcome(dialog, act, answer)
    } catch (error) {
      fill(problem, alertOf(error))
    } finally {
      state.isRunning = confirm.disabled = cancel.disabled = false
    }
  }
  const onsubmit = (event: Event) => {
    event.preventDefault()
    void start(new FormData(event.target as HTMLFormElement))
  }
  const form = h(
    'form',
    { onsubmit },
    h('p', {}, act.text),
    act.fields,
    problem,
    h('p', { class: 'buttons' }, cancel, confirm)
  )
  // An act in progress cannot be closed, since its result must be shown.
  const oncancel = (event: Event) => state.isRunning && event.preventDefault()
  const dialog = h('dialog', { 'aria-labelledby': 'dialog-title', oncancel }, heading, form)
  document.body.append(dialog)
  dialog.showModal()
  if (act.isDangerous) cancel.focus()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve(state.isDone)
    })
  })
}

/** A secret that is shown once. A click selects it. */
export const secret = (text: string): HTMLElement => {
  const onfocus = (event: Event) => (event.target as HTMLInputElement).select()
  return h('p', { class: 'field' }, h('input', { value: text, readonly: true, 'aria-label': 'Secret', onfocus }))
}

/** Entries that are shown of an act with many. */
const maxShown = 5

async function showOutcome<Body>(dialog: HTMLDialogElement, act: Act<Body>, answer: Answer<Body>): Promise<void> {
  const heading = h('h2', { id: 'dialog-title', tabindex: -1 }, 'Done')
  const trail = h('div', { class: 'trail' }, h('p', {}, 'Reading the audit trail …'))
  const close = button('Close', () => dialog.close(), 'primary')
  fill(dialog, heading, h('div', { role: 'status' }, act.done(answer.body)), trail, h('p', { class: 'buttons' }, close))
  close.focus()
  try {
    fill(trail, showEntries(await entriesOf(answer.requestId, act.entries), answer.requestId))
  } catch (error) {
    fill(trail, alertOf(error))
  }
}

function showEntries(entries: readonly Entry[], requestId: string): Content {
  if (!isAllowed('keyturn.audit'))
    return h('p', {}, 'Its entry in the audit trail has the request id ', h('code', {}, requestId), '.')
  if (entries.length === 0) return h('p', {}, 'Nothing had to be changed, so the audit trail has no entry.')
  const columns = Object.values(entryColumns)
  return [
    h('h3', {}, `Audit trail: ${entries.length === 1 ? '1 entry' : `${entries.length} entries`}`),
    entries
      .slice(0, maxShown)
      .map((entry) =>
        list([['Position', entry.seq], ...columns.map(({ name, show }) => [name, show(entry)] as const)])
      ),
    entries.length > maxShown && h('p', {}, `${entries.length - maxShown} more are in the trail.`)
  ]
}
