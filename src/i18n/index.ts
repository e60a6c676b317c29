/*
 * Error texts in the language of a request. One JSON file per language maps each English text to its translation; `{}` stands
 * for a value: a method, a number, the name of a claim. test/house/languages.test.ts compares the files with errors.ts.
 */
import de from './de.json' with { type: 'json' }
import es from './es.json' with { type: 'json' }
import fr from './fr.json' with { type: 'json' }
import ja from './ja.json' with { type: 'json' }
import ptBR from './pt-BR.json' with { type: 'json' }
import zhHans from './zh-Hans.json' with { type: 'json' }

type Translations = Readonly<Record<string, string>>

const translations = { de, es, fr, 'pt-BR': ptBR, 'zh-Hans': zhHans, ja } satisfies Record<string, Translations>

export type Language = 'en' | keyof typeof translations

/** Language and script of a tag, the likely script where it names none: zh-CN is zh-Hans, de is de-Latn. Undefined for no tag. */
function readableAs(tag: string): string | undefined {
  try {
    const { language, script } = new Intl.Locale(tag).maximize()
    return `${language}-${script}`
  } catch {
    return undefined
  }
}

/** The languages by language and script. A table, since the first call of Intl adds three milliseconds to a start. */
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

/** Ranges after these are ignored. */
const maxRanges = 20

/**
 * The language that an Accept-Language header prefers (RFC 9110 §12.5.4), English by default. A range matches a language that
 * its reader can read: de-CH and de match de, pt-PT matches pt-BR, zh and zh-CN match zh-Hans; zh-TW, written in another script,
 * matches none.
 */
export function chooseLanguage(header: string): Language {
  const ranges = header.split(',', maxRanges).flatMap(parseRange)
  const refused = new Set(
    ranges.filter(({ weight }) => weight === 0).map(({ range }) => byReading.get(readableAs(range)))
  )
  const rest = languages.filter((language) => !refused.has(language))
  const preferred = ranges
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => b.weight - a.weight)
    .map(({ range }) => (range === '*' ? rest[0] : byReading.get(readableAs(range))))
  return preferred.find((language) => language !== undefined && rest.includes(language)) ?? 'en'
}

/** `de-CH;q=0.8`; empty for what is not a range. */
function parseRange(text: string): readonly { readonly range: string; readonly weight: number }[] {
  const match = /^\s*([a-z\d-]+|\*)\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?$/i.exec(text)
  return match === null ? [] : [{ range: match[1] ?? '', weight: Number(match[2] ?? 1) }]
}

/** An error body with each text in `language`. Everything else stays unchanged, since `code` is for programs. */
export const translateBody = (body: object, language: Language): object =>
  JSON.parse(JSON.stringify(body), (_name, value) => (typeof value === 'string' ? translate(value, language) : value))

/** An English text in `language`; unchanged when it has no translation. */
export function translate(text: string, language: Language): string {
  if (language === 'en') return text
  for (const { pattern, template } of patterns) {
    const match = pattern.exec(text)
    if (match === null) continue
    const translation = (translations[language] as Translations)[template]
    return translation?.replace('{}', () => match[1] ?? '') ?? text
  }
  return text
}

/** Each English text as a pattern that captures its value. */
const patterns = Object.keys(de).map((template) => {
  const [before = '', after] = template.split('{}').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return { template, pattern: new RegExp(after === undefined ? `^${before}$` : `^${before}(.*)${after}$`, 's') }
})
