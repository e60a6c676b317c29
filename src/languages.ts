import { type OtherLanguage, translations } from './translations.ts'

export type Language = 'en' | OtherLanguage

/** Language and script of a tag, the likely script where it names none: zh-CN is zh-Hans, de is de-Latn. Undefined for no tag. */
function readableAs(tag: string): string | undefined {
  try {
    const { language, script } = new Intl.Locale(tag).maximize()
    return `${language}-${script}`
  } catch {
    return undefined
  }
}

/** What refusals can be told in, by what its reader reads. Not asked of Intl, which takes three milliseconds of a start to begin. */
const byReading: ReadonlyMap<string | undefined, Language> = new Map([
  ['en-Latn', 'en'],
  ['de-Latn', 'de'],
  ['es-Latn', 'es'],
  ['fr-Latn', 'fr'],
  ['pt-Latn', 'pt-BR'],
  ['zh-Hans', 'zh-Hans'],
  ['ja-Jpan', 'ja']
])

export const languages: readonly Language[] = [...byReading.values()]

/** More than anybody reads: what comes after is not looked at. */
const mostRanges = 20

/**
 * The language that an Accept-Language header likes best (RFC 9110 §12.5.4); English where it likes none. A range is met by what
 * its reader can read: de-CH and de by de, pt-PT by pt-BR, zh and zh-CN by zh-Hans, but zh-TW, which is written otherwise, by
 * none.
 */
export function chooseLanguage(header: string): Language {
  const ranges = header.split(',', mostRanges).flatMap(parseRange)
  const refused = new Set(
    ranges.filter(({ weight }) => weight === 0).map(({ range }) => byReading.get(readableAs(range)))
  )
  const rest = languages.filter((language) => !refused.has(language))
  const liked = ranges
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => b.weight - a.weight)
    .map(({ range }) => (range === '*' ? rest[0] : byReading.get(readableAs(range))))
  return liked.find((language) => language !== undefined && rest.includes(language)) ?? 'en'
}

/** `de-CH;q=0.8`; nothing for what is no range. */
function parseRange(text: string): readonly { readonly range: string; readonly weight: number }[] {
  const match = /^\s*([a-z\d-]+|\*)\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?$/i.exec(text)
  return match === null ? [] : [{ range: match[1] ?? '', weight: Number(match[2] ?? 1) }]
}

/** An error body with each sentence in it in `language`. All else is as it was: `code` is for programs. */
export const translateBody = (body: object, language: Language): object =>
  JSON.parse(JSON.stringify(body), (_name, value) => (typeof value === 'string' ? translate(value, language) : value))

/** A sentence in `language`; a text that is none, as it is. */
export function translate(text: string, language: Language): string {
  if (language === 'en') return text
  for (const { pattern, row } of sentences) {
    const match = pattern.exec(text)
    if (match !== null) return row[language].replace('{}', () => match[1] ?? '')
  }
  return text
}

/** Each sentence as it may be met, with any value in it. */
const sentences = Object.entries(translations).map(([sentence, row]) => {
  const [before = '', after] = sentence.split('{}').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return { pattern: new RegExp(after === undefined ? `^${before}$` : `^${before}(.*)${after}$`, 's'), row }
})
