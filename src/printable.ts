/**
 * Characters that a terminal acts on or that change the order of what it shows: the control characters C0, DEL and C1,
 * line and paragraph separators, and the marks, embeddings, overrides and isolates of bidirectional text (UAX #9 §2).
 */
const unprintable = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

const unprintableExceptLayout = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** `\u001b` for an escape character. Inside a JSON string it is the same text, so JSON stays the same value. */
const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

/** One line that a terminal shows as it is: names and user agents come from strangers. */
export const printableLine = (text: string): string => text.replace(unprintable, escaped)

/** The same for several lines: tabs and newlines stay. */
export const printableText = (text: string): string => text.replace(unprintableExceptLayout, escaped)

/** A log line's value with each text in it printable. */
export function printableValue(value: unknown): unknown {
  if (typeof value === 'string') return printableText(value)
  if (Array.isArray(value)) return value.map(printableValue)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [printableText(name), printableValue(each)]))
}
