/**
 * The words of a scope (RFC 6749 §3.3), each once: none of an empty text, undefined when one of them can be no word of
 * a scope. What passes is printable ASCII without blanks, quotes and backslashes, and so may stand in a header or a
 * challenge as it is.
 */
export function parseScope(text: string): readonly string[] | undefined {
  const words = [...new Set(text.split(' ').filter((word) => word !== ''))]
  return words.every((word) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(word)) ? words : undefined
}
