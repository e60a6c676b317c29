import type { FieldMessage, FieldMessages } from './errors.ts'

/*
 * Django REST framework's rules for text fields, as Simple JWT's endpoints have them: a number is read as its text, white
 * space around is trimmed, all faulty fields are told at once, fields nobody asked for are ignored.
 */

/** What was read of a body: the fields, or what is wrong with each. */
export type FieldsResult = { readonly fields: Readonly<Record<string, string>> } | { readonly messages: FieldMessages }

/** Reads text fields out of a parsed body, `required` ones and others. `undefined` is a request without a body. */
export function readFields(body: unknown, required: readonly string[], optional: readonly string[] = []): FieldsResult {
  if (body === null) return { messages: { non_field_errors: ['No data provided'] } }
  if (body !== undefined && (typeof body !== 'object' || Array.isArray(body))) {
    return { messages: { non_field_errors: [`Invalid data. Expected a dictionary, but got ${pythonTypeOf(body)}.`] } }
  }
  const fields: Record<string, string> = {}
  const messages: Record<string, readonly FieldMessage[]> = {}
  for (const name of [...required, ...optional]) {
    const value =
      body !== undefined && Object.hasOwn(body as object, name) ? (body as Record<string, unknown>)[name] : undefined
    if (value === undefined && optional.includes(name)) continue
    const read = readText(value)
    if ('faults' in read) messages[name] = read.faults
    else fields[name] = read.text
  }
  return Object.keys(messages).length > 0 ? { messages } : { fields }
}

/** One field's value as text, or Django REST framework's words for what is wrong with it (CharField). */
function readText(value: unknown): { readonly text: string } | { readonly faults: readonly FieldMessage[] } {
  if (value === undefined) return { faults: ['This field is required.'] }
  if (value === null) return { faults: ['This field may not be null.'] }
  if (typeof value !== 'string' && typeof value !== 'number') return { faults: ['Not a valid string.'] }
  const text = strip(String(value))
  if (text === '') return { faults: ['This field may not be blank.'] }
  // The reference asks both of its validators, and tells what each of them says.
  const faults: FieldMessage[] = text.includes('\0') ? ['Null characters are not allowed.'] : []
  const surrogate = /\p{Surrogate}/u.exec(text)
  if (surrogate !== null) {
    faults.push(`Surrogate characters are not allowed: U+${surrogate[0].charCodeAt(0).toString(16).toUpperCase()}.`)
  }
  return faults.length > 0 ? { faults } : { text }
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
  return Number.isInteger(value) ? 'int' : 'float'
}
