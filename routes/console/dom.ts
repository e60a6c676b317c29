/** Elements, made with the DOM's own methods: text from the service is never parsed as HTML. */
/** What an element may contain; undefined, null and false are left out. */
export type Content = Node | string | number | undefined | null | false | readonly Content[]

/** A function listens to the event that its name has after `on`; false and undefined are left out. */
type Attributes = Readonly<Record<string, string | number | boolean | undefined | ((event: Event) => void)>>

/** As in src/printable.ts, which a page cannot load: control characters, and marks that reorder text, but no tab or newline. */
const unprintable = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/**
 * `\u202e` for a right-to-left override, as the commands print it. Otherwise a user could choose a name that looks like that of
 * another, and that reverses the question of a dialog.
 */
export const printable = (text: string): string =>
  text.replace(unprintable, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** An element with attributes and children. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Content[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag)
  setAttributes(element, attributes)
  add(element, children)
  return element
}

/** The same in SVG. */
export function svg(tag: string, attributes: Attributes, ...children: readonly Content[]): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
  setAttributes(element, attributes)
  add(element, children)
  return element
}

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value)
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : `${value}`)
  }
}

export function add(element: Element, children: readonly Content[]): void {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child)
    else if (typeof child === 'string') element.append(printable(child))
    else if (child !== undefined && child !== null && child !== false) element.append(child as Node | string)
  }
}

/** Replaces what an element contains. */
export function fill(element: Element, ...children: readonly Content[]): void {
  element.replaceChildren()
  add(element, children)
}

export interface Column<Row> {
  readonly name: string
  show(row: Row): Content
}

export interface Table<Row> {
  readonly element: HTMLElement
  readonly body: HTMLElement
  /** A row for the body. */
  row(row: Row): HTMLElement
}

/**
 * A table with a caption. Its roles are written out since browsers drop them from a table that the style sheet shows as cards, as
 * it does on a phone.
 */
export function table<Row>(caption: Content, columns: readonly Column<Row>[], rows: readonly Row[] = []): Table<Row> {
  const row = (each: Row) =>
    h(
      'tr',
      { role: 'row' },
      columns.map(({ name, show }) => h('td', { role: 'cell', 'data-name': name }, show(each)))
    )
  const body = h('tbody', { role: 'rowgroup' }, rows.map(row))
  const heads = columns.map(({ name }) => h('th', { role: 'columnheader', scope: 'col' }, name))
  const element = h(
    'table',
    { role: 'table' },
    h('caption', {}, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads)),
    body
  )
  return { element, body, row }
}

/** Names with their values. */
export const list = (pairs: readonly (readonly [name: string, value: Content])[]): HTMLElement =>
  h(
    'dl',
    {},
    pairs.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value)))
  )

/** A labelled input; `attributes` are those of the input. */
export function field(label: string, name: string, attributes: Attributes = {}, hint?: string): HTMLElement {
  const id = `field-${name}`
  const input = h('input', { id, name, 'aria-describedby': hint && `${id}-hint`, autocomplete: 'off', ...attributes })
  if (attributes.type === 'checkbox') return h('p', { class: 'check' }, input, h('label', { for: id }, label))
  return h(
    'p',
    { class: 'field' },
    h('label', { for: id }, label),
    input,
    hint !== undefined && h('small', { id: `${id}-hint` }, hint)
  )
}

export const button = (text: string, onclick: () => void, kind?: 'danger' | 'primary'): HTMLButtonElement =>
  h('button', { type: 'button', class: kind, onclick }, text)

/** A badge whose colour only repeats what its text says. */
export const badge = (text: string, kind: 'good' | 'warn' | 'bad' | 'plain' = 'plain'): HTMLElement =>
  h('span', { class: `badge ${kind}` }, text)

/** Has a message read out and shown for a while. */
export function announce(text: string): void {
  const status = document.querySelector('.status')
  if (status !== null) status.textContent = printable(text)
}

/** A message about an error, read out at once. */
export const alertOf = (error: unknown): HTMLElement =>
  h('p', { class: 'alert', role: 'alert' }, error instanceof Error ? error.message : String(error))

/** Shows an error of `work` in place of what `element` contains, unless it was given up. */
export async function attempt(element: Element, work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof DOMException && error.name === 'AbortError')) fill(element, alertOf(error))
  }
}
