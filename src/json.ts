/** JSON nested deeper than maxJsonDepth, which is refused before it is parsed. */
export class JsonDepthError extends Error {
  override readonly name = 'JsonDepthError'
}

/** Maximum nesting of objects and arrays. */
const maxJsonDepth = 32

/** The position of a number in the text. */
interface Span {
  readonly start: number
  readonly end: number
}

/**
 * Like JSON.parse, but a number in the outermost object that JavaScript would print differently, such as 9007199254740993 or
 * 1.0, is returned as its text: it may be a username or a password, in which every digit counts. Throws JsonDepthError, and
 * SyntaxError as JSON.parse does.
 */
export function parseJson(text: string): unknown {
  const spans = findInexactNumbers(text)
  const value = JSON.parse(text)
  // Quoted after a first parse, so that invalid JSON cannot become valid by it.
  return spans.length === 0 ? value : JSON.parse(quote(text, spans))
}

/** One pass over the text, which skips strings. Its result for invalid JSON does not matter. */
function findInexactNumbers(text: string): readonly Span[] {
  const spans: Span[] = []
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (char === '"') at = endOfString(text, at)
    else if (char === '{' || char === '[') depth += 1
    else if (char === '}' || char === ']') depth -= 1
    else if (depth === 1 && char !== undefined && isNumberStart(char)) {
      const span = spanOfNumber(text, at)
      const digits = text.slice(span.start, span.end)
      if (String(Number(digits)) !== digits) spans.push(span)
      at = span.end - 1
    }
    if (depth > maxJsonDepth) throw new JsonDepthError(`nested more than ${maxJsonDepth} levels deep`)
  }
  return spans
}

const isNumberStart = (char: string): boolean => char === '-' || (char >= '0' && char <= '9')

/** The index of the closing quote, or the end of the text. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text[end - 1 - backslashes] === '\\') backslashes++
    if (backslashes % 2 === 0) return end
  }
  return text.length
}

function spanOfNumber(text: string, start: number): Span {
  const number = /[-+.eE\d]+/y
  number.lastIndex = start
  number.test(text)
  return { start, end: number.lastIndex }
}

function quote(text: string, spans: readonly Span[]): string {
  let [quoted, from] = ['', 0]
  for (const { start, end } of spans) {
    quoted += `${text.slice(from, start)}"${text.slice(start, end)}"`
    from = end
  }
  return quoted + text.slice(from)
}
