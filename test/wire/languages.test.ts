/*
 * Refusals in the language that a client reads, as Simple JWT's are with Django's LocaleMiddleware. The translations are
 * Keyturn's own; `code` never changes.
 */
import t from 'tap'
import { aPassword, openApp } from '../support/app.ts'

const { app, post, logIn, clock } = await openApp(t, { SLIDING_TOKENS: 'true' })

t.test('endpoints respond in the requested language', async (t) => {
  const { access } = await logIn()
  const ask = async (path: string, language: string, body: object): Promise<string> => {
    const answer = await post(path, body, { 'accept-language': language })
    const { vary, 'content-language': reported } = answer.headers
    t.match(answer.headers['content-type'], /^application\/json$/)
    return [answer.statusCode, reported, vary, answer.body].join(' | ')
  }
  const rows: readonly (readonly [path: string, language: string, body: object, answer: string])[] = [
    [
      '/api/token/',
      'de-AT,de;q=0.9,en;q=0.8',
      { username: 'vitor', password: 'wrong horse' },
      '401 | de | Accept, Accept-Language | {"detail":"Kein aktives Konto mit diesen Zugangsdaten gefunden"}'
    ],
    [
      '/api/token/sliding/',
      'pt',
      {},
      '400 | pt-BR | Accept, Accept-Language | {"username":["Este campo é obrigatório."],"password":["Este campo é obrigatório."]}'
    ],
    [
      '/api/token/refresh/',
      'zh-CN',
      { refresh: access },
      '401 | zh-Hans | Accept, Accept-Language | {"detail":"令牌类型错误","code":"token_not_valid"}'
    ],
    [
      '/api/token/verify/',
      'ja',
      { token: 'x' },
      '401 | ja | Accept, Accept-Language | {"detail":"トークンが無効です","code":"token_not_valid"}'
    ],
    [
      '/api/token/verify/',
      'nl',
      { token: 'x' },
      '401 | en | Accept, Accept-Language | {"detail":"Token is invalid","code":"token_not_valid"}'
    ],
    [
      '/api/token/verify/batch/',
      'fr',
      { tokens: ['x', 1] },
      '400 | fr | Accept, Accept-Language | {"tokens":["Élément 1 : Ce n\'est pas une chaîne valide."]}'
    ],
    ['/api/nowhere/', 'es', {}, '404 | es | Accept-Language | {"detail":"No encontrado."}']
  ]
  for (const [path, language, body, answer] of rows) t.equal(await ask(path, language, body), answer)

  const bearer = { authorization: `Bearer ${access}`, 'accept-language': 'de' }
  const forbidden = await app.inject({ url: '/api/token/forward-auth/?scope=admin', headers: bearer })
  t.equal(forbidden.body, '{"detail":"Sie sind zu dieser Aktion nicht berechtigt."}')
  t.match(forbidden.headers, { vary: 'Authorization, Accept-Language', 'content-language': 'de' })
  const put = await app.inject({ method: 'PUT', url: '/api/token/', headers: { 'accept-language': 'fr' } })
  t.equal(put.body, '{"detail":"Méthode \\"PUT\\" non autorisée."}')
  t.match(put.headers, { allow: 'POST, OPTIONS', 'content-language': 'fr' })
  const unreadable = await app.inject({ url: '/%', headers: { 'accept-language': 'de' } })
  t.equal(unreadable.body, '{"detail":"Nicht gefunden."}', 'a path that cannot be decoded')
})

t.test('the messages of a protected endpoint are translated too', async (t) => {
  const { access } = await logIn('bearer')
  clock.advance(300)
  const headers = { authorization: `Bearer ${access}`, 'accept-language': 'es' }
  t.same((await app.inject({ url: '/api/sessions/', headers })).json(), {
    detail: 'El token no es válido para ningún tipo de token',
    code: 'token_not_valid',
    messages: [
      { token_class: 'AccessToken', token_type: 'access', message: 'El token ha caducado' },
      { token_class: 'SlidingToken', token_type: 'sliding', message: 'El token ha caducado' }
    ]
  })
})

t.test('what a password may not be', async (t) => {
  const { access } = await logIn('changer')
  const headers = { authorization: `Bearer ${access}`, 'accept-language': 'de' }
  const change = (current_password: string, new_password: string) =>
    post('/api/password/', { current_password, new_password }, headers)
  t.same((await change('wrong horse', 'x')).json(), { current_password: ['Das ist nicht das aktuelle Passwort.'] })
  t.same((await change(aPassword, 'horse')).json(), {
    new_password: ['Das Passwort ist zu kurz: Mindestens 8 Zeichen sind nötig.']
  })
  const query = await app.inject({ method: 'DELETE', url: '/api/sessions/?keep=x', headers })
  t.same(query.json(), { keep: ['Der Wert muss "current" sein.'] })
})

t.test('without Accept-Language, and with English, every byte is as it was', async (t) => {
  const plain = await post('/api/token/verify/', { token: 'x' })
  const english = await post('/api/token/verify/', { token: 'x' }, { 'accept-language': 'en-US,en;q=0.9' })
  for (const { body } of [plain, english]) t.equal(body, '{"detail":"Token is invalid","code":"token_not_valid"}')
  t.match(plain.headers, { vary: 'Accept', 'content-language': undefined })
  t.match(english.headers, { vary: 'Accept, Accept-Language', 'content-language': 'en' })
  const { access } = await logIn('reader')
  const good = await post('/api/token/verify/', { token: access }, { 'accept-language': 'de' })
  t.equal(good.body, '{}')
  t.match(good.headers, { vary: 'Accept', 'content-language': undefined }, 'a success has no language')
})
