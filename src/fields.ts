import type { FieldMessage, FieldMessages } from './errors.ts'

/*
 * Django REST framework's rules for text fields, as Simple JWT's endpoints have them: a number is read as its text, white
 * space around is trimmed, all faulty fields are told at once, fields nobody asked for are ignored.
 */

/** What a field holds: a text, or a list of at most so many texts. */
export interface FieldRule {
  readonly isRequired: boolean
  readonly mostItems?: number
}

type FieldValue = string | readonly string[]

/** What was read of a body: the fields, or what is wrong with each. */
export type FieldsResult =
  | { readonly fields: Readonly<Record<string, FieldValue>> }
  | { readonly messages: FieldMessages }

/** Reads the fields that `rules` names out of a parsed body. `undefined` is a request without a body. */
export function readFields(body: unknown, rules: Readonly<Record<string, FieldRule>>): FieldsResult {
  if (body === null) return { messages: { non_field_errors: ['No data provided'] } }
  if (body !== undefined && (typeof body !== 'object' || Array.isArray(body))) {
    return { messages: { non_field_errors: [`Invalid data. Expected a dictionary, but got ${pythonTypeOf(body)}.`] } }
  }
  const fields: Record<string, FieldValue> = {}
  const messages: Record<string, readonly FieldMessage[]> = {}
  for (const [name, { isRequired, mostItems }] of Object.entries(rules)) {
    const value =
      body !== undefined && Object.hasOwn(body as object, name) ? (body as Record<string, unknown>)[name] : undefined
    if (value === undefined && !isRequired) continue
    const read = mostItems === undefined ? readText(value) : readTexts(value, mostItems)
    if ('faults' in read) messages[name] = read.faults
    else fields[name] = read.value
  }
  return Object.keys(messages).length > 0 ? { messages } : { fields }
}

/** A field's value, or what is wrong with it in Django REST framework's words. */
type Read<T> = { readonly value: T } | { readonly faults: readonly FieldMessage[] }

/** A list of texts, none of them looked at: one that is no good must not spoil the others (ListField). */
function readTexts(value: unknown, most: number): Read<readonly string[]> {
  if (value === undefined) return { faults: ['This field is required.'] }
  if (value === null) return { faults: ['This field may not be null.'] }
  if (!Array.isArray(value)) return { faults: [`Expected a list of items but got type "${pythonTypeOf(value)}".`] }
  if (value.length === 0) return { faults: ['This list may not be empty.'] }
  if (value.length > most) return { faults: [`Ensure this field has no more than ${most} elements.`] }
  const wrong = value.findIndex((item) => typeof item !== 'string')
  return wrong < 0 ? { value: value.map(strip) } : { faults: [`Item ${wrong}: Not a valid string.`] }
}

/** A text (CharField). */
function readText(value: unknown): Read<string> {
  if (value === undefined) return { faults: ['This field is required.'] }
  if (value === null) return { faults: ['This field may not be null.'] }
  if (typeof value !== 'string' && typeof value !== 'number') return { faults: ['Not a valid string.'] }
  const text = strip(String(value))
  if (text === '') return { faults: ['This field may not be blank.'] }
  // The reference asks both of its validators, and tells what each of them says.
  const faults: FieldMessage[] = text.includes('\0') ? ['Null characters are not allowed.'] : []
  const surrogate = text.isWellFormed() ? null : /\p{Surrogate}/u.exec(text)
  if (surrogate !== null) {
    faults.push(`Surrogate characters are not allowed: U+${surrogate[0].charCodeAt(0).toString(16).toUpperCase()}.`)
  }
  return faults.length > 0 ? { faults } : { value: text }
}

// What Python's str.strip takes for white space. JavaScript's trim() also takes a byte order mark, and so would make a
// good token out of a bad one; and it leaves U+001C to U+001F and U+0085.
const blank = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/

/** Text without the white space around it, as Python's str.strip. Walks from both ends: an expression for the end would be quadratic. */
export function strip(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && blank.test(text.charAt(start))) start++
  while (end > start && blank.test(text.charAt(end - 1))) end--
  return text.slice(start, end)
}

function pythonTypeOf(value: unknown): string {
  if (Array.isArray(value)) return 'list'
  if (typeof value === 'string') return 'str'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'object') return 'dict'
  return Number.isInteger(value) ? 'int' : 'float'
}
