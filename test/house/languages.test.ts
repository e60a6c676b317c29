/* Every text of an error has a translation in every language, and no translation is left over. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import t from 'tap'
import { type ErrorCode, errorTable, fieldMessages, KeyturnError, unreadable } from '../../src/errors.ts'
import { languages, translate } from '../../src/i18n/index.ts'

const folder = new URL('../../../src/i18n/', import.meta.url)
const files = readdirSync(folder).filter((name) => name.endsWith('.json'))

const untranslated: readonly ErrorCode[] = [
  // Its text is its detail, which Django REST framework does not translate either.
  'BODY_UNREADABLE',
  // Its text is a reason that an operator reads.
  'UNSUPPORTED_CHANGE',
  // Only OAuth endpoints return these, in ASCII (RFC 6749 §5.2) and therefore in English.
  'CLIENT_INVALID',
  'CLIENT_OTHER',
  'OAUTH_REQUEST',
  'GRANT_UNSUPPORTED',
  'SCOPE_INVALID',
  'REVOCATION_UNSUPPORTED'
]

const translated = (Object.keys(errorTable) as ErrorCode[]).filter((code) => !untranslated.includes(code))

/** The texts of a code with {} for their value; a number of one second has a text of its own. */
function templatesOf(code: ErrorCode): string[] {
  const { text } = errorTable[code]
  return typeof text === 'string' ? [text] : [text('{}'), text('1').replace('1', '{}')]
}

const texts = [...translated.flatMap(templatesOf), ...fieldMessages, unreadable]

/** Whether a text is another one with a value in its place, as that of a token without `exp`. */
const isFilled = (text: string): boolean =>
  texts.some((each) => {
    const [before = '', after] = each.split('{}')
    return after !== undefined && !text.includes('{}') && text.startsWith(before) && text.endsWith(after)
  })

const templates = new Set(texts.filter((text) => !isFilled(text)))

t.test('each language has one file, and the file translates exactly the texts of errors.ts', async (t) => {
  t.same(['en', ...files.map((file) => basename(file, '.json'))].toSorted(), languages.toSorted())
  for (const file of files) {
    const translations: Record<string, string> = JSON.parse(readFileSync(new URL(file, folder), 'utf8'))
    t.same(Object.keys(translations).toSorted(), [...templates].toSorted(), file)
    const values = (text: string): number => text.split('{}').length - 1
    for (const [template, text] of Object.entries(translations)) {
      t.equal(values(text), values(template), `${file}: ${text} has the value of its template`)
      t.ok(text.trim() === text && text.length > 0, text)
      const isCut = !/[.。]$/.test(text) && template.endsWith('.')
      t.notOk(isCut, `${text} ends as its template does`)
    }
  }
})

t.test('every error is translated into every language', async (t) => {
  for (const code of translated) {
    for (const detail of ['1', '12']) {
      const { detail: text } = new KeyturnError(code, { detail }).body as { detail: string }
      for (const language of languages)
        t.equal(translate(text, language) === text, language === 'en', `${code} in ${language}: ${text}`)
    }
  }
})
