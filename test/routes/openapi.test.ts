/* The OpenAPI document: valid for two validators, complete, and true of actual responses. */
import { createConfig, lintFromString } from '@redocly/openapi-core'
import { Validator } from '@seriousme/openapi-schema-validator'
import type { LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { Check } from 'typebox/schema'
import { type ErrorCode, KeyturnError } from '../../src/errors.ts'
import { type Call, callAs, clientToken, userToken } from '../support/admin.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { anOperator } from '../support/admin.ts'
import { addClient } from '../support/client.ts'
import { aDevice } from '../support/makers.ts'
import { aModule } from '../support/modules.ts'

interface Media {
  readonly schema: object
  readonly example?: unknown
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>
}
interface Response {
  readonly description: string
  readonly headers?: Readonly<Record<string, object>>
  readonly content?: Readonly<Record<string, Media>>
}
interface Parameter {
  readonly name: string
  readonly in: string
  readonly schema: {
    readonly type: string
    readonly const?: string
    readonly minimum?: number
    readonly maximum?: number
  }
}
interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly tags: readonly string[]
  readonly security: readonly object[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> }
  readonly responses: Readonly<Record<string, Response>>
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

/** Settings with which every endpoint exists. */
const everything = (t: Test): Record<string, string> => ({
  SLIDING_TOKENS: 'true',
  HOOKS_MODULE: aModule(t, 'export const onPasswordResetRequested = () => {}')
})

const documentOf = async ({ app }: TestApp): Promise<Document> => (await app.inject('/openapi.json')).json()

/** Each operation as `POST /api/token/`. */
const operationsOf = ({ paths }: Document): ReadonlyMap<string, Operation> =>
  new Map(
    Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const)
    )
  )

t.test('two validators that share no rules find nothing', async (t) => {
  for (const env of [{}, { COOKIE_MODE: 'on', RATE_LIMIT_VERIFY: '9/s', ISSUER: 'https://auth.example' }]) {
    const { app } = await openApp(t, env)
    const { body, headers } = await app.inject('/openapi.json')
    t.match(headers, { 'content-type': 'application/json', 'access-control-allow-origin': '*' })
    const validator = new Validator()
    t.match(await validator.validate(JSON.parse(body)), { valid: true }, 'the schema of the specification')
    t.equal(validator.version, '3.1')
    const rules = {
      // The slash is Django's; the JWKS and the probes never return 4xx.
      'no-path-trailing-slash': 'off',
      'operation-4xx-response': 'off'
    } as const
    const config = await createConfig({ extends: ['recommended-strict'], rules })
    const problems = await lintFromString({ source: body, absoluteRef: 'openapi.json', config })
    t.same(
      problems.map(({ ruleId, message, location: [place] }) => `${ruleId}: ${message} ${place?.pointer}`),
      [],
      'the rules of Redocly, which try each example on its schema too'
    )
  }
})

t.test('the validators would find something', async (t) => {
  const { app } = await openApp(t)
  const { body } = await app.inject('/openapi.json')
  const without = (name: string) => JSON.parse(body, (key, value) => (key === name ? undefined : value))
  t.match(await new Validator().validate(without('info')), { valid: false })
  const config = await createConfig({ extends: ['recommended-strict'] })
  const source = body.replace('"username":"vitor"', '"username":42')
  const problems = await lintFromString({ source, absoluteRef: 'openapi.json', config })
  t.ok(problems.some(({ ruleId }) => ruleId === 'no-invalid-media-type-examples'))
})

t.test('every endpoint is documented once, with what a reader needs', async (t) => {
  const operations = operationsOf(await documentOf(await openApp(t, { RATE_LIMIT_OBTAIN: '20/m', ...everything(t) })))
  t.same(
    [...operations.keys()],
    [
      'POST /api/token/',
      'POST /api/token/refresh/',
      'POST /api/token/verify/',
      'POST /api/token/verify/batch/',
      'GET /api/token/forward-auth/',
      'POST /api/token/blacklist/',
      'POST /api/token/sliding/',
      'POST /api/token/sliding/refresh/',
      'GET /api/sessions/',
      'DELETE /api/sessions/',
      'DELETE /api/sessions/{id}/',
      'POST /api/password/',
      'POST /api/password/reset/',
      'POST /api/password/forgot/',
      'POST /oauth/token',
      'POST /oauth/introspect',
      'POST /oauth/revoke',
      'GET /api/revocations/',
      'POST /api/admin/users/',
      'GET /api/admin/users/',
      'GET /api/admin/users/{id}/',
      'PATCH /api/admin/users/{id}/',
      'DELETE /api/admin/users/{id}/',
      'PUT /api/admin/users/{id}/password/',
      'GET /api/admin/users/{id}/sessions/',
      'DELETE /api/admin/users/{id}/sessions/',
      'DELETE /api/admin/users/{id}/sessions/{sid}/',
      'POST /api/admin/sessions/revoke/',
      'POST /api/admin/users/{id}/one-time-tokens/',
      'POST /api/admin/one-time-tokens/redeem/',
      'GET /api/admin/keys/',
      'POST /api/admin/keys/rotate/',
      'GET /api/admin/clients/',
      'POST /api/admin/clients/',
      'DELETE /api/admin/clients/{id}/',
      'POST /api/admin/clients/{id}/rotate-secret/',
      'GET /api/admin/audit/',
      'GET /api/admin/overview/',
      'GET /.well-known/jwks.json',
      'GET /.well-known/oauth-authorization-server',
      'GET /.well-known/openid-configuration',
      'GET /health/live',
      'GET /health/ready',
      'GET /metrics'
    ],
    'in one spelling, that of docs/api.md'
  )
  const ids = [...operations.values()].map(({ operationId }) => operationId)
  t.equal(new Set(ids).size, ids.length, 'no id twice')
  for (const id of ids) t.match(id, /^[a-z][A-Za-z]+$/)

  for (const [name, { requestBody, responses, tags, summary }] of operations) {
    t.ok(tags.length === 1 && summary !== '', name)
    for (const [type, media] of Object.entries(requestBody?.content ?? {}))
      t.ok(media.example ?? media.examples, `${name} takes ${type}, with an example`)
    for (const [status, { description, headers, content }] of Object.entries(responses)) {
      const about = `${name} ${status}`
      t.notMatch(description, /^Default Response$|^$/, about)
      t.ok(headers?.['X-Request-ID'], about)
      t.equal(headers?.['WWW-Authenticate'] !== undefined, status === '401' || /SCOPE_MISSING/.test(description), about)
      if (status === '429') t.ok(headers?.['Retry-After'], about)
      for (const media of Object.values(content ?? {})) areRefusals(t, status, media.examples ?? {}, about)
    }
  }
  t.match(operations.get('POST /api/token/')?.responses['200']?.headers, { RateLimit: {}, 'RateLimit-Policy': {} })
})

/** Refusals are shown by their codes, under the status that each has. */
function areRefusals(t: Test, status: string, examples: NonNullable<Media['examples']>, about: string): void {
  if (Number(status) < 400) return
  for (const code of Object.keys(examples) as ErrorCode[]) {
    const error = new KeyturnError(code)
    t.equal(about.includes(' /oauth/') ? error.oauthStatus : error.status, Number(status), about)
  }
}

/** A response matches the document: a documented status, with a body that fits its schema. */
function isAsTold(t: Test, document: Document, name: string, answer: LightMyRequestResponse): void {
  const reported = operationsOf(document).get(name)?.responses[answer.statusCode]
  if (reported === undefined) {
    t.fail(`${name} may not answer ${answer.statusCode}`)
    return
  }
  const [type = '', media] = Object.entries(reported.content ?? {})[0] ?? []
  if (media === undefined) t.equal(answer.body, '', `${name} ${answer.statusCode} has no body`)
  else {
    t.equal(answer.headers['content-type']?.toString().split(';')[0], type)
    const body: unknown = type === 'application/json' ? answer.json() : answer.body
    t.ok(
      Check(strict(resolve(document, media.schema)) as never, body),
      `${name} ${answer.statusCode} ${answer.body.slice(0, 200)}`
    )
  }
  for (const header of ['www-authenticate', 'retry-after', 'x-request-id', 'ratelimit']) {
    const isDocumented = Object.keys(reported.headers ?? {}).some((each) => each.toLowerCase() === header)
    if (answer.headers[header] !== undefined) t.ok(isDocumented, `${name} ${answer.statusCode} ${header}`)
  }
}

/** Responses are not filtered: they must contain exactly what their schema has. */
const strict = (schema: object): object =>
  'properties' in schema ? { additionalProperties: false, ...schema } : schema

const resolve = ({ components }: Document, schema: { readonly $ref?: string }): object =>
  schema.$ref === undefined ? schema : (components.schemas[schema.$ref.split('/').at(-1) as string] as object)

t.test('answers are as it says', async (t) => {
  const service = await openApp(t, {
    ISSUER: 'https://auth.example',
    RATE_LIMIT_OBTAIN: '25/m',
    ...everything(t)
  })
  const { app, post } = service
  const document = await documentOf(service)
  const seen = new Set<string>()
  const check = (name: string, answer: LightMyRequestResponse): LightMyRequestResponse => {
    isAsTold(t, document, name, answer)
    seen.add(name)
    return answer
  }
  const get = async (path: string, headers: Record<string, string> = {}) =>
    check(`GET ${path}`, await app.inject({ url: path, headers }))

  await service.addUser('vitor', aPassword)
  const logIn = async (body: object) => check('POST /api/token/', await post('/api/token/', body))
  const { access, refresh } = (await logIn({ username: 'vitor', password: aPassword })).json()
  const authorization = `Bearer ${access}`
  await logIn({})
  await logIn({ username: 'vitor', password: 'wrong' })
  for (const body of [{ refresh }, {}, { refresh: 'no token' }])
    check('POST /api/token/refresh/', await post('/api/token/refresh/', body))
  for (const body of [{ token: access }, {}, { token: 'no token' }])
    check('POST /api/token/verify/', await post('/api/token/verify/', body))
  check('POST /api/token/verify/', await post('/api/token/verify/', '{', { 'content-type': 'application/json' }))
  check('POST /api/token/verify/', await post('/api/token/verify/', 'x', { 'content-type': 'text/plain' }))
  check('POST /api/token/verify/', await post('/api/token/verify/', { token: 'x'.repeat(20_000) }))
  check('POST /api/token/verify/', await post('/api/token/verify/', { token: access }, { accept: 'text/html' }))
  for (const body of [{ tokens: [access, 'no token'] }, { tokens: [] }])
    check('POST /api/token/verify/batch/', await post('/api/token/verify/batch/', body))

  const sliding = await post('/api/token/sliding/', { username: 'vitor', password: aPassword })
  const { token } = check('POST /api/token/sliding/', sliding).json()
  check('POST /api/token/sliding/', await post('/api/token/sliding/', {}))
  for (const body of [{ token }, {}, { token: access }])
    check('POST /api/token/sliding/refresh/', await post('/api/token/sliding/refresh/', body))

  await get('/api/token/forward-auth/')
  await get('/api/token/forward-auth/', { authorization })
  const scoped = await app.inject({ url: '/api/token/forward-auth/?scope=orders', headers: { authorization } })
  t.equal(check('GET /api/token/forward-auth/', scoped).statusCode, 403)

  const gateway = await addClient(service, 'gateway', ['orders'])
  for (const path of ['/oauth/introspect', '/oauth/revoke']) {
    check(`POST ${path}`, await gateway.post(path, { token: access }))
    check(`POST ${path}`, await gateway.post(path))
    check(`POST ${path}`, await post(path, '', { 'content-type': 'application/x-www-form-urlencoded' }))
  }
  for (const parameters of [{ grant_type: 'client_credentials' }, { grant_type: 'password' }, {}] as const)
    check('POST /oauth/token', await gateway.post('/oauth/token', { ...parameters }))

  const reader = await addClient(service, 'reader', ['keyturn.revocations'])
  await get('/api/revocations/')
  for (const { authorization } of [gateway, reader]) await get('/api/revocations/', { authorization })

  const again = (await logIn({ username: 'vitor', password: aPassword })).json()
  const headers = { authorization: `Bearer ${again.access}` }
  await get('/api/sessions/')
  const { sessions } = (await get('/api/sessions/', headers)).json()
  const path = '/api/password/'
  check(`POST ${path}`, await post(path, { current_password: 'wrong', new_password: 'short' }, headers))
  check(`POST ${path}`, await post(path, { current_password: aPassword, new_password: 'staple-battery' }, headers))
  const { user_id: userId } = JSON.parse(Buffer.from(again.access.split('.')[1], 'base64url').toString())
  const { token: once } = await service.app.manage.oneTimeTokens.issue(anOperator, userId, {
    purpose: 'password_reset'
  })
  for (const body of [{ token: once, new_password: 'short' }, { token: 'x', new_password: 'staple-battery' }, {}])
    check(`POST ${path}reset/`, await post(`${path}reset/`, body))
  for (const body of [{ username: 'unknown' }, {}]) check(`POST ${path}forgot/`, await post(`${path}forgot/`, body))
  for (const id of [sessions[0].id, 'none']) {
    const options = { method: 'DELETE', url: `/api/sessions/${id}/`, headers } as const
    check('DELETE /api/sessions/{id}/', await app.inject(options))
  }
  check('DELETE /api/sessions/', await app.inject({ method: 'DELETE', url: '/api/sessions/?keep=all', headers }))
  check('POST /api/token/blacklist/', await post('/api/token/blacklist/', { refresh: again.refresh }))
  check('POST /api/token/blacklist/', await post('/api/token/blacklist/', { refresh: again.refresh }))
  for (let tries = 0; tries < 25; tries++) await logIn({})
  t.equal((await logIn({})).statusCode, 429)

  await tryManagement(service, check)

  const jwks = await get('/.well-known/jwks.json')
  await get('/.well-known/jwks.json', { 'if-none-match': String(jwks.headers.etag) })
  for (const url of ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']) await get(url)
  for (const url of ['/health/live', '/health/ready', '/metrics']) await get(url)
  check('GET /metrics', await app.inject({ url: '/metrics', headers: { 'x-forwarded-for': '192.0.2.1' } }))
  t.same(
    [...operationsOf(document).keys()].filter((name) => !seen.has(name)),
    [],
    'and each endpoint was tried'
  )
})

/** Calls every management endpoint, with success and with each of its usual refusals. */
async function tryManagement(
  service: TestApp,
  check: (name: string, answer: LightMyRequestResponse) => LightMyRequestResponse
): Promise<void> {
  const call = callAs(service, await clientToken(service, 'operator', 'keyturn.admin'))
  const call403 = callAs(service, await clientToken(service, 'visitor'))
  const tryOne = async (method: Parameters<Call>[0], path: string, ids: readonly string[], body?: object) => {
    const url = ids.reduce((text, id) => text.replace(/\{\w+\}/, id), path)
    for (const each of [call403, callAs(service, undefined), call])
      check(`${method} ${path}`, await each(method, url, body))
  }
  const users = '/api/admin/users/'
  const { id } = check(`POST ${users}`, await call('POST', users, { username: 'ann', password: aPassword })).json()
  await service.app.stores.sessions.start(id, aDevice)
  const { results } = (await call('GET', `${users}${id}/sessions/`)).json()
  await tryOne('POST', users, [], { username: 'ann' })
  await tryOne('POST', users, [], {})
  await tryOne('GET', users, [])
  await tryOne('GET', `${users}{id}/sessions/`, [id])
  await tryOne('DELETE', `${users}{id}/sessions/{sid}/`, [id, results[0].id])
  await tryOne('DELETE', `${users}{id}/sessions/{sid}/`, [id, 'none'])
  await tryOne('DELETE', `${users}{id}/sessions/`, [id])
  for (const each of [id, 'none']) await tryOne('POST', `${users}{id}/one-time-tokens/`, [each], { purpose: 'verify' })
  const { token } = (await call('POST', `${users}${id}/one-time-tokens/`, { purpose: 'verify' })).json()
  for (const purpose of ['invite', 'verify'])
    await tryOne('POST', '/api/admin/one-time-tokens/redeem/', [], { token, purpose })
  for (const each of [id, 'none']) {
    await tryOne('GET', `${users}{id}/`, [each])
    await tryOne('PATCH', `${users}{id}/`, [each], { claims: { team: 'blue' } })
    await tryOne('PUT', `${users}{id}/password/`, [each], { password: 'another password' })
    await tryOne('DELETE', `${users}{id}/`, [each])
  }
  await tryOne('POST', '/api/admin/sessions/revoke/', [], { user_ids: ['none'] })
  await tryOne('GET', '/api/admin/audit/', [])
  await tryOne('GET', '/api/admin/overview/', [])
  await tryOne('GET', '/api/admin/keys/', [])
  await tryOne('POST', '/api/admin/keys/rotate/', [])
  await tryOne('POST', '/api/admin/clients/', [], { client_id: 'shop', scope: 'stock' })
  await tryOne('POST', '/api/admin/clients/', [], { client_id: 'shop' })
  await tryOne('GET', '/api/admin/clients/', [])
  await tryOne('POST', '/api/admin/clients/{id}/rotate-secret/', ['shop'], {})
  await tryOne('DELETE', '/api/admin/clients/{id}/', ['shop'])
  await tryOne('DELETE', '/api/admin/clients/{id}/', ['none'])
}

/** Values that the schema of a parameter refuses. */
function wrongValues({ name, schema: { type, const: only, minimum = 0, maximum = 0 } }: Parameter): readonly string[] {
  const value = only ?? (type === 'integer' ? `${maximum}` : 'x')
  const repeated = `${name}=${value}&${name}=${value}`
  const others = type === 'integer' ? ['', 'x', '1.5', `${minimum - 1}`, `${maximum + 1}`] : only && ['', `${only}x`]
  return [repeated, ...(others || []).map((other) => `${name}=${other}`)]
}

/** It reads its query itself, in every spelling, and before validation: gateways append that of the request asked about. */
const readsItself = ['GET /api/token/forward-auth/']

t.test('the parameters of every operation are enforced as the document says, and others are ignored', async (t) => {
  const service = await openApp(t, { ...everything(t), ISSUER: 'https://auth.example' })
  const document = await documentOf(service)
  const access = await userToken(service, 'vitor', 'keyturn.admin')
  const client = await addClient(service, 'gateway', ['keyturn.revocations'])
  let tried = 0
  for (const [name, { parameters = [], security, requestBody }] of operationsOf(document)) {
    const [method = '', path = ''] = name.split(' ')
    const needs = (scheme: string) => security.some((each) => scheme in each)
    const authorization = needs('bearer') ? `Bearer ${access}` : needs('clientBasic') ? client.authorization : ''
    const send = (query: string) => {
      const url = `${path.replace(/\{\w+\}/g, 'x')}?${query}`
      return service.app.inject({
        method: method as 'GET',
        url,
        ...(authorization ? { headers: { authorization } } : {})
      })
    }
    for (const { in: place, schema } of parameters)
      if (place === 'path') t.equal(schema.type, 'string', `${name}: any text may be in the path`)
    for (const parameter of parameters.filter((each) => each.in === 'query' && !readsItself.includes(name))) {
      for (const query of wrongValues(parameter)) {
        const answer = await send(query)
        t.equal(answer.statusCode, 400, `${name} ?${query}`)
        t.same(Object.keys(answer.json()), [parameter.name])
        isAsTold(t, document, name, answer)
        tried += 1
      }
    }
    if (requestBody === undefined && !name.startsWith('DELETE')) {
      const [plain, other] = [await send(''), await send('unknown=1&unknown=2')]
      t.equal(other.statusCode, plain.statusCode, `${name} ignores what it does not name`)
    }
  }
  t.ok(tried >= 9, `${tried} wrong queries`)
})

t.test('the page', async (t) => {
  const { app } = await openApp(t)
  for (const url of ['/docs', '/docs/']) {
    const page = await app.inject(url)
    t.equal(page.statusCode, 200)
    t.match(page.headers, {
      'content-type': /^text\/html/,
      'content-security-policy': /^default-src 'none'; script-src 'self'; /,
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY'
    })
    t.notMatch(page.headers['content-security-policy'], /unsafe|https?:|\*/)
    const links = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(
      ([, link = '']) => new URL(link, `http://x${url}`)
    )
    t.ok(links.length > 4)
    for (const { host, pathname } of links) {
      t.equal(host, 'x', 'nothing from elsewhere')
      t.equal((await app.inject(pathname)).statusCode, 200, pathname)
    }
  }
  t.equal((await app.inject('/docs/json')).body, (await app.inject('/openapi.json')).body, 'it shows the document')
  const { headers } = await app.inject('/health/live')
  t.equal(
    headers['content-security-policy'],
    "default-src 'none'; frame-ancestors 'none'",
    'no other endpoint has its policy'
  )
})
