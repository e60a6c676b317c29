import t from 'tap'
import { chooseLanguage, languages, translate, translateBody } from '../../src/i18n/index.ts'

t.test('the language a header likes best', async (t) => {
  const rows: readonly (readonly [header: string, language: string])[] = [
    ['de', 'de'],
    ['DE', 'de'],
    ['de-CH', 'de'],
    ['de-Latn-CH-1996', 'de'],
    ['pt', 'pt-BR'],
    ['pt-PT', 'pt-BR'],
    ['zh', 'zh-Hans'],
    ['zh-CN', 'zh-Hans'],
    ['zh-Hans-SG', 'zh-Hans'],
    ['zh-TW', 'en'],
    ['zh-Hant', 'en'],
    ['zh-TW, ja;q=0.1', 'ja'],
    ['ja-JP', 'ja'],
    ['es-419, es;q=0.9', 'es'],
    ['en-GB', 'en'],
    // Chromium's, Firefox's.
    ['fr-FR,fr;q=0.9,en-US;q=0.8,en;q=0.7', 'fr'],
    ['nl,fr-CA;q=0.7,en;q=0.3', 'fr'],
    ['en;q=0.3, de;q=0.7', 'de'],
    ['de;q=0.7,en;q=0.7', 'de'],
    ['en;q=0.7,de;q=0.7', 'en'],
    ['de;q=0.001, es;q=0.01', 'es'],
    ['de ; q=0.5 , ja ;q=1.000', 'ja'],
    ['de;Q=1', 'de'],
    ['*', 'en'],
    ['*, ja;q=0.5', 'en'],
    ['ja, *;q=0.5', 'ja'],
    ['de;q=0', 'en'],
    ['de;q=0, de-AT', 'en'],
    ['de-CH;q=0.000, es;q=0.1', 'es'],
    ['en;q=0, *', 'de'],
    ['en;q=0, de;q=0, *;q=0.1', 'es'],
    ['*;q=0', 'en'],
    ['nl, sv, fi', 'en'],
    // Invalid ranges are ignored.
    ['', 'en'],
    [',,de,', 'de'],
    ['d e, es', 'es'],
    ['de;q=2, es', 'es'],
    ['de;q=0.1234, es', 'es'],
    ['de;q=-1, es', 'es'],
    ['de;level=1, es', 'es'],
    ['-de, _de, d\u00e9, es', 'es'],
    ['x, i-klingon, und, es;q=0.1', 'en'],
    [`${'nl,'.repeat(19)}de`, 'de'],
    [`${'nl,'.repeat(20)}de`, 'en'],
    [`${'x-'.repeat(7000)}, de`, 'de']
  ]
  for (const [header, language] of rows) t.equal(chooseLanguage(header), language, header.slice(0, 60))
  for (const language of languages) t.equal(chooseLanguage(language), language)
})

t.test('a sentence keeps its value', async (t) => {
  t.equal(translate('Method "PUT" not allowed.', 'de'), 'Methode "PUT" nicht erlaubt.')
  t.equal(translate("Token has no '$&' claim", 'fr'), "Le jeton n'a pas de claim '$&'", 'whatever it is')
  t.equal(translate('Unsupported media type "{}" in request.', 'es'), 'Tipo de medio "{}" no admitido en la solicitud.')
  t.equal(
    translate('Unsupported media type "a\nb" in request.', 'es'),
    'Tipo de medio "a\nb" no admitido en la solicitud.'
  )
  const throttled = (seconds: string) => translate(`Request was throttled. Expected available in ${seconds}.`, 'de')
  t.match(throttled('1 second'), /in 1 Sekunde\.$/)
  t.match(throttled('12 seconds'), /in 12 Sekunden\.$/)
  t.equal(translate('Token is expired.', 'de'), 'Token is expired.', 'an unknown text stays unchanged')
  t.equal(translate('Token is expired', 'en'), 'Token is expired')
})

t.test('of a body the sentences are translated, wherever they are, and nothing else', async (t) => {
  const messages = [{ token_class: 'AccessToken', token_type: 'access', message: 'Token is expired' }]
  const body = { detail: 'Given token not valid for any token type', code: 'token_not_valid', messages }
  t.same(translateBody(body, 'pt-BR'), {
    detail: 'O token não é válido para nenhum tipo de token',
    code: 'token_not_valid',
    messages: [{ token_class: 'AccessToken', token_type: 'access', message: 'O token expirou' }]
  })
  const fields = { username: ['This field is required.'], password: ['This field may not be null.'] }
  t.same(translateBody(fields, 'ja'), {
    username: ['この項目は必須です。'],
    password: ['この項目は null にできません。']
  })
  t.same(translateBody({ error: 'invalid_client', active: false, count: 3, none: null }, 'de'), {
    error: 'invalid_client',
    active: false,
    count: 3,
    none: null
  })
})
