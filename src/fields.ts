import type { FieldMessage, FieldMessages } from './errors.ts'

/*
 * Django REST framework's rules for text fields, as in Simple JWT's endpoints: a number is converted to text, surrounding
 * white space is trimmed, all invalid fields are reported at once, and unknown fields are ignored.
 */

/** The type of a field: a string unless it says otherwise; with `maxItems` a list of strings. */
export interface FieldRule {
  readonly isRequired: boolean
  readonly maxItems?: number
  readonly type?: 'boolean' | 'object' | { readonly minimum: number; readonly maximum: number }
}

/** The rules of the fields of a body, by name. */
export type FieldRules = readonly (readonly [name: string, rule: FieldRule])[]

type FieldValue = string | boolean | number | Readonly<Record<string, unknown>> | readonly string[]

/** The fields of a body, or the errors of each field. */
export type FieldsResult =
  | { readonly fields: Readonly<Record<string, FieldValue>> }
  | { readonly messages: FieldMessages }

/** Reads the fields that `rules` names from a parsed body; `undefined` is a request without a body. */
export function readFields(body: unknown, rules: FieldRules): FieldsResult {
  if (body === null) return { messages: { non_field_errors: ['No data provided'] } }
  if (body !== undefined && (typeof body !== 'object' || Array.isArray(body))) {
    return { messages: { non_field_errors: [`Invalid data. Expected a dictionary, but got ${pythonTypeOf(body)}.`] } }
  }
  const fields: Record<string, FieldValue> = {}
  const messages: Record<string, readonly FieldMessage[]> = {}
  for (const [name, rule] of rules) {
    const value =
      body !== undefined && Object.hasOwn(body as object, name) ? (body as Record<string, unknown>)[name] : undefined
    if (value === undefined && !rule.isRequired) continue
    const read = readValue(value, rule)
    if ('faults' in read) messages[name] = read.faults
    else fields[name] = read.value
  }
  return Object.keys(messages).length > 0 ? { messages } : { fields }
}

/** A field's value, or its errors, in the form of Django REST framework. */
type Read<T> = { readonly value: T } | { readonly faults: readonly FieldMessage[] }

function readValue(value: unknown, { maxItems, type }: FieldRule): Read<FieldValue> {
  if (value === undefined) return { faults: ['This field is required.'] }
  if (value === null) return { faults: ['This field may not be null.'] }
  if (maxItems !== undefined) return readTexts(value, maxItems)
  if (type === undefined) return readText(value)
  if (type === 'boolean') return readBoolean(value)
  return type === 'object' ? readObject(value) : readInteger(value, type)
}

/** JSON's own values only: BooleanField also takes `"yes"` and 1, which no client of these endpoints sends. */
const readBoolean = (value: unknown): Read<boolean> =>
  typeof value === 'boolean' ? { value } : { faults: ['Must be a valid boolean.'] }

const readObject = (value: unknown): Read<Readonly<Record<string, unknown>>> =>
  typeof value === 'object' && !Array.isArray(value)
    ? { value: value as Readonly<Record<string, unknown>> }
    : { faults: [`Expected a dictionary of items but got type "${pythonTypeOf(value)}".`] }

/** An integer (IntegerField). */
function readInteger(value: unknown, { minimum, maximum }: { minimum: number; maximum: number }): Read<number> {
  // JSON numbers arrive as numbers or, where they would lose digits, as their text (src/json.ts).
  const number = typeof value === 'number' || /^-?\d{1,15}$/.test(String(value)) ? Number(value) : Number.NaN
  if (!Number.isSafeInteger(number)) return { faults: ['A valid integer is required.'] }
  if (number > maximum) return { faults: [`Ensure this value is less than or equal to ${maximum}.`] }
  if (number < minimum) return { faults: [`Ensure this value is greater than or equal to ${minimum}.`] }
  return { value: number }
}

/** A list of strings (ListField). Their content is not validated: one invalid token must not fail the whole batch. */
function readTexts(value: unknown, maxItems: number): Read<readonly string[]> {
  if (!Array.isArray(value)) return { faults: [`Expected a list of items but got type "${pythonTypeOf(value)}".`] }
  if (value.length === 0) return { faults: ['This list may not be empty.'] }
  if (value.length > maxItems) return { faults: [`Ensure this field has no more than ${maxItems} elements.`] }
  const wrong = value.findIndex((item) => typeof item !== 'string')
  return wrong < 0 ? { value: value.map(strip) } : { faults: [`Item ${wrong}: Not a valid string.`] }
}

/** A string (CharField). */
function readText(value: unknown): Read<string> {
  if (typeof value !== 'string' && typeof value !== 'number') return { faults: ['Not a valid string.'] }
  const text = strip(String(value))
  if (text === '') return { faults: ['This field may not be blank.'] }
  // Django REST framework runs both validators and reports the errors of each.
  const faults: FieldMessage[] = text.includes('\0') ? ['Null characters are not allowed.'] : []
  const surrogate = text.isWellFormed() ? null : /\p{Surrogate}/u.exec(text)
  if (surrogate !== null) {
    faults.push(`Surrogate characters are not allowed: U+${surrogate[0].charCodeAt(0).toString(16).toUpperCase()}.`)
  }
  return faults.length > 0 ? { faults } : { value: text }
}

// What Python's str.strip treats as white space. JavaScript's trim() also strips a byte order mark, which would make an
// invalid token valid, and keeps U+001C to U+001F and U+0085.
const whiteSpace = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/

/** Text without surrounding white space, as Python's str.strip. A regular expression for the end would be quadratic. */
function strip(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && whiteSpace.test(text.charAt(start))) start++
  while (end > start && whiteSpace.test(text.charAt(end - 1))) end--
  return text.slice(start, end)
}

function pythonTypeOf(value: unknown): string {
  if (Array.isArray(value)) return 'list'
  if (typeof value === 'string') return 'str'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'object') return 'dict'
  return Number.isInteger(value) ? 'int' : 'float'
}
