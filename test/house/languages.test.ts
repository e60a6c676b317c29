/* Every sentence that the outside may be told is in every language, and none is left that nobody says any more. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type ErrorCode, errorTable, KeyturnError } from '../../src/errors.ts'
import { languages, translate } from '../../src/languages.ts'
import { translations } from '../../src/translations.ts'

const others = languages.filter((language) => language !== 'en')

const untranslated: readonly ErrorCode[] = [
  // Its words are what it is given: Django REST framework does not translate them either.
  'BODY_UNREADABLE',
  // Only OAuth doors tell these, in ASCII (RFC 6749 §5.2): so in English.
  'CLIENT_INVALID',
  'CLIENT_OTHER',
  'OAUTH_REQUEST',
  'GRANT_UNSUPPORTED',
  'SCOPE_INVALID',
  'REVOCATION_UNSUPPORTED'
]

t.test('every refusal is told in every language', async (t) => {
  const codes = (Object.keys(errorTable) as ErrorCode[]).filter((code) => !untranslated.includes(code))
  for (const code of codes) {
    for (const detail of ['1', '12']) {
      const { detail: words } = new KeyturnError(code, { detail }).body as { detail: string }
      for (const language of others) t.not(translate(words, language), words, `${code} in ${language}: ${words}`)
    }
  }
})

t.test('every sentence is in every language, with its value', async (t) => {
  for (const [sentence, row] of Object.entries(translations)) {
    t.same(Object.keys(row), others, sentence)
    const values = (text: string): number => text.split('{}').length - 1
    for (const [language, text] of Object.entries<string>(row)) {
      t.equal(values(text), values(sentence), `${language}: ${text}`)
      t.ok(text.trim() === text && text.length > 0, text)
      const isCut = !/[.。]$/.test(text) && sentence.endsWith('.')
      t.notOk(isCut, `${text} ends as its sentence does`)
    }
  }
})

t.test('every sentence is said somewhere', async (t) => {
  const root = fileURLToPath(new URL('../../../', import.meta.url))
  const code = ['src', 'plugins', 'routes']
    .flatMap((floor) =>
      readdirSync(join(root, floor), { recursive: true, encoding: 'utf8' }).map((file) => join(root, floor, file))
    )
    .filter((file) => file.endsWith('.ts') && !file.endsWith('translations.ts'))
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n')
  for (const sentence of Object.keys(translations)) {
    const [beginning = ''] = sentence.split('{}')
    t.ok(code.includes(beginning), sentence)
  }
})
