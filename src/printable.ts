/**
 * Characters that control a terminal or reorder its output: the control characters C0, DEL and C1,
 * line and paragraph separators, and the marks, embeddings, overrides and isolates of bidirectional text (UAX #9 §2).
 */
const unprintable = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

const unprintableExceptLayout = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** `\u001b` for an escape character. Inside a JSON string it is the same text, so JSON stays the same value. */
const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

/** One line without control characters, since usernames and user agents come from untrusted clients. */
export const printableLine = (text: string): string => text.replace(unprintable, escaped)

/** The same for several lines: keeps tabs and newlines. */
export const printableText = (text: string): string => text.replace(unprintableExceptLayout, escaped)

/** A value of a log line with all its strings printable. */
export function printableValue(value: unknown): unknown {
  if (typeof value === 'string') return printableText(value)
  if (Array.isArray(value)) return value.map(printableValue)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [printableText(name), printableValue(each)]))
}
