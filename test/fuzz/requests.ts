/** Requests for every endpoint of the OpenAPI document: valid, nearly valid and invalid ones. */
import { METHODS } from 'node:http'
import fc, { type Arbitrary } from 'fast-check'
import type { Endpoint } from './document.ts'

export interface FuzzedRequest {
  /** The endpoint, if the request matches the document. */
  readonly endpoint: Endpoint | undefined
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array | undefined
}

/** What only the service can give stands as `{{access}}` in a request until it is sent. */
const treasures = [
  'access',
  'refresh',
  'sliding',
  'password',
  'sid',
  'basic',
  'secret',
  'etag',
  'invite',
  'admin',
  'user',
  'session',
  'client'
] as const
export type Treasure = (typeof treasures)[number]

const treasure: Arbitrary<string> = fc.constantFrom(...treasures).map((name) => `{{${name}}}`)

/** What a name, a token, a path have been stumbled over elsewhere. */
const classics = fc.constantFrom(
  ...[
    '',
    ' ',
    '\0',
    '\ud800',
    '\u{10ffff}',
    '\ufeff',
    'null',
    'undefined',
    'NaN',
    '0',
    '-1',
    '1e999',
    'true',
    '[]',
    '{}'
  ],
  ...[
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    '../../etc/passwd',
    '%00',
    '%zz',
    '%',
    '<%= 7*7 %>',
    "' OR 1=1 --"
  ],
  ...['a'.repeat(255), 'ﬃ'.repeat(90), 'x'.repeat(1025), 'x'.repeat(4097), '{'.repeat(5000), '\u202e', 'Ⅷ', 'ß', '😀'],
  ...[
    'eyJhbGciOiJub25lIn0.e30.',
    'eyJhbGciOiJIUzI1NiJ9.e30.',
    '..',
    'a.b.c',
    '.'.repeat(1000),
    'e30.e30.e30',
    'bnVsbA.bnVsbA.'
  ]
)
const wild = fc.oneof(classics, fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme', maxLength: 300 }))

/** A text with something cut out of it or put into it. */
const damaged = (text: Arbitrary<string>): Arbitrary<string> =>
  fc.tuple(text, fc.nat(), fc.nat(8), fc.oneof(fc.constant(''), wild)).map(([whole, place, cut, put]) => {
    const at = place % (whole.length + 1)
    return whole.slice(0, at) + put + whole.slice(at + cut)
  })

/** What usually stands in a field of this name. */
const expected: Readonly<Record<string, readonly string[]>> = {
  username: ['vitor', 'unknown', 'kim'],
  password: ['{{password}}', 'wrong'],
  current_password: ['{{password}}', 'wrong'],
  new_password: ['another horse', 'short'],
  purpose: ['invite', 'verify'],
  lifetime: ['60'],
  token: ['{{access}}', '{{refresh}}', '{{sliding}}', '{{invite}}'],
  refresh: ['{{refresh}}'],
  refresh_token: ['{{refresh}}'],
  grant_type: ['refresh_token', 'client_credentials'],
  scope: ['orders', 'orders invoices'],
  client_id: ['gateway', 'shop'],
  client_secret: ['{{secret}}'],
  keep: ['current', 'none'],
  token_type_hint: ['access_token', 'refresh_token']
}

const textFor = (field: string): Arbitrary<string> =>
  fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...(expected[field] ?? ['x'])) },
    { weight: 2, arbitrary: treasure },
    { weight: 2, arbitrary: damaged(treasure) },
    { weight: 3, arbitrary: wild }
  )

/** Fields that are not texts. */
const others: Readonly<Record<string, Arbitrary<unknown>>> = {
  tokens: fc.array(textFor('token'), { maxLength: 102 }),
  is_active: fc.boolean(),
  immediate: fc.boolean(),
  overlap: fc.integer(),
  user_ids: fc.array(fc.oneof(fc.constant('{{user}}'), wild), { maxLength: 20 }),
  claims: fc.dictionary(fc.string(), fc.jsonValue())
}

/** A value as JSON has it; of a list of tokens up to more than there may be. */
const valueFor = (field: string): Arbitrary<unknown> => {
  const usual = others[field] ?? textFor(field)
  return fc.oneof({ weight: 6, arbitrary: usual }, { weight: 1, arbitrary: fc.jsonValue() })
}

type Pairs = readonly (readonly [name: string, value: unknown])[]

/** The fields of an endpoint, each present, missing or duplicate, and some unknown ones. */
const pairsFor = (fields: readonly string[]): Arbitrary<Pairs> => {
  const own = fields.map((field) =>
    fc.oneof(
      { weight: 12, arbitrary: valueFor(field).map((value) => [[field, value] as const]) },
      { weight: 1, arbitrary: fc.constant([]) },
      {
        weight: 1,
        arbitrary: fc
          .tuple(valueFor(field), valueFor(field))
          .map(([a, b]) => [[field, a] as const, [field, b] as const])
      }
    )
  )
  const unknown = fc.array(fc.tuple(fc.oneof(classics, wild), fc.jsonValue()), { maxLength: 2 })
  return fc.tuple(fc.tuple(...own), unknown).map(([known, further]) => [...known.flat(), ...further])
}

const asText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
const asJson = (pairs: Pairs): string =>
  `{${pairs.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join()}}`
const asForm = (pairs: Pairs): string =>
  // Braces stay as they are, so that treasures are found.
  pairs
    .map((pair) =>
      pair.map((each) => encodeURIComponent(wellFormed(asText(each))).replace(/%7B%7B(\w+)%7D%7D/g, '{{$1}}')).join('=')
    )
    .join('&')
const asMultipart = (pairs: Pairs): string =>
  `${pairs.map(([name, value]) => `--part\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${asText(value)}\r\n`).join('')}--part--\r\n`

/** encodeURIComponent takes no half of a pair. */
const wellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, '\ufffd')

const json = 'application/json'
const form = 'application/x-www-form-urlencoded'
const multipart = 'multipart/form-data; boundary=part'
const types = fc.oneof(
  fc.constantFrom(
    json,
    form,
    multipart,
    'text/plain',
    'application/json; charset=utf-16',
    'multipart/form-data',
    'a/b',
    '',
    ';',
    '*/*'
  ),
  fc.string({ maxLength: 40 })
)

type Content = readonly [type: string | undefined, body: FuzzedRequest['body']]

const contentFor = (endpoint: Endpoint): Arbitrary<Content> => {
  const { path, fields } = endpoint
  const { headers, body } = usualRequest(endpoint)
  const pairs = pairsFor(fields)
  const good = path.startsWith('/oauth/')
    ? pairs.map((each): Content => [form, asForm(each)])
    : fc.oneof(
        { weight: 4, arbitrary: pairs.map((each): Content => [json, asJson(each)]) },
        { weight: 1, arbitrary: pairs.map((each): Content => [form, asForm(each)]) },
        { weight: 1, arbitrary: pairs.map((each): Content => [multipart, asMultipart(each)]) }
      )
  return fc.oneof(
    { weight: 6, arbitrary: fc.constant<Content>([headers['content-type'], body]) },
    { weight: 10, arbitrary: good },
    {
      weight: 2,
      arbitrary: fc.tuple(
        types,
        good.map(([, body]) => body)
      )
    },
    { weight: 2, arbitrary: fc.tuple(fc.constantFrom(json, form, multipart), damaged(pairs.map(asJson))) },
    { weight: 1, arbitrary: fc.tuple(types, fc.uint8Array({ maxLength: 300 })) },
    {
      weight: 1,
      arbitrary: fc.constantFrom<Content>(
        [json, '['.repeat(8000) + ']'.repeat(8000)],
        [json, '{"a":'.repeat(3000)],
        [json, 'x'.repeat(17_000)]
      )
    },
    { weight: 1, arbitrary: fc.constant<Content>([undefined, undefined]) }
  )
}

/** A header value as Node's parser lets it in. */
const asHeader = (text: string): string => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, '?')
const headerText = fc.oneof(fc.string({ maxLength: 60 }), wild).map(asHeader)
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.constantFrom('unknown', '192.0.2.1:80', '[::1]:1', '1.2.3.4, 5.6.7.8'),
  headerText
)

/** The credentials that an endpoint requires. */
const usualAuthorization = (path: string): string => {
  if (path.startsWith('/api/admin/')) return 'Bearer {{admin}}'
  return path.startsWith('/oauth/') || path === '/api/revocations/' ? 'Basic {{basic}}' : 'Bearer {{access}}'
}

/** The path with ids that exist. */
const usualPath = (path: string): string => {
  const owner = path.startsWith('/api/admin/clients/') ? '{{client}}' : '{{user}}'
  return path.startsWith('/api/admin/')
    ? path.replace('{id}', owner).replace('{sid}', '{{session}}')
    : path.replace('{id}', '{{sid}}')
}

const authorizationFor = (path: string): Arbitrary<string | undefined> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constant(usualAuthorization(path)) },
    { weight: 2, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: treasure.map((each) => `Bearer ${each}`) },
    { weight: 1, arbitrary: damaged(fc.constantFrom('Bearer {{access}}', 'Basic {{basic}}')).map(asHeader) },
    { weight: 1, arbitrary: headerText }
  )

const fields = {
  accept: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('*/*', json, 'text/*;q=0, */*') },
    fc.constant('text/html'),
    headerText
  ),
  'accept-language': fc.oneof(fc.constantFrom('de', 'pt-BR;q=0.5, *', 'ja-JP', '*;q=0'), headerText),
  cookie: fc.oneof(
    fc.constantFrom('__Host-refresh={{refresh}}', '__Host-refresh="{{refresh}}"; x=%zz', '__Host-refresh={{sid}}'),
    headerText
  ),
  origin: fc.oneof(fc.constantFrom('http://localhost:80', 'https://evil.example', 'null'), headerText),
  'sec-fetch-site': fc.constantFrom('same-origin', 'cross-site', 'none', 'x'),
  'x-request-id': headerText,
  traceparent: fc.oneof(fc.constant('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'), headerText),
  'if-none-match': fc.oneof(fc.constant('{{etag}}'), headerText),
  'x-forwarded-for': address,
  'x-forwarded-proto': fc.oneof(fc.constantFrom('https', 'http'), headerText),
  'x-forwarded-host': headerText,
  'x-forwarded-method': headerText,
  'x-forwarded-uri': headerText,
  'x-original-url': headerText,
  'user-agent': headerText,
  'content-encoding': fc.constantFrom('gzip', 'identity', 'br'),
  'access-control-request-method': headerText,
  'access-control-request-headers': headerText
} satisfies Readonly<Record<string, Arbitrary<string>>>

const fieldNames = Object.keys(fields) as (keyof typeof fields)[]

/** Most requests have few of them, or there would be no plain one. */
const someFields = fc
  .oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 3, arbitrary: fc.shuffledSubarray(fieldNames, { maxLength: 2 }) },
    { weight: 1, arbitrary: fc.shuffledSubarray(fieldNames) }
  )
  .chain((names) => fc.record(Object.fromEntries(names.map((name) => [name, fields[name]]))))

/** Of cookie mode: a page of our own, with its cookie. */
const ownPage = fc.constant({ origin: 'http://localhost:80', cookie: '__Host-refresh={{refresh}}' })

const headersFor = (path: string): Arbitrary<Readonly<Record<string, string>>> =>
  fc
    .tuple(authorizationFor(path), fc.oneof({ weight: 4, arbitrary: someFields }, { weight: 1, arbitrary: ownPage }))
    .map(([authorization, others]) => ({ ...(authorization === undefined ? {} : { authorization }), ...others }))

const encoded = (text: string): string => encodeURIComponent(wellFormed(text))
const queryFor = (names: readonly string[]): Arbitrary<string> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.constant('') },
    ...names.map((name) => ({ weight: 4, arbitrary: textFor(name).map((value) => `?${name}=${encoded(value)}`) })),
    { weight: 1, arbitrary: fc.tuple(wild, wild).map(([name, value]) => `?${encoded(name)}=${encoded(value)}`) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('?', '?&&=', '?%zz', '?scope=%ff', '?keep=current&keep=current', '?a[b]=c', '#x')
    }
  )

/** A documented path, with an id if it has one; or another path. */
const pathFor = (path: string): Arbitrary<{ readonly path: string; readonly isDocumented: boolean }> => {
  const id = fc.oneof(
    { weight: 2, arbitrary: fc.constant(undefined) },
    {
      weight: 1, // Clients resolve dot segments themselves (RFC 3986 §5.2.4).
      arbitrary: wild.filter((each) => !['', '.', '..'].includes(each)).map(encoded)
    }
  )
  const reported = id.map((each) => usualPath(each === undefined ? path : path.replace('{id}', () => each)))
  return fc.oneof(
    { weight: 20, arbitrary: reported.map((each) => ({ path: each, isDocumented: true })) },
    {
      weight: 2,
      arbitrary: reported.map((each) => ({
        path: each.endsWith('/') ? each.slice(0, -1) : `${each}/`,
        isDocumented: !path.includes('{id}')
      }))
    },
    {
      weight: 1,
      arbitrary: damaged(reported).map((each) => ({ path: `/${encodeURI(wellFormed(each))}`, isDocumented: false }))
    },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom('/', '//', '/%', '/api/%zz', '/api/..', '/docs', '/openapi.json', '/.env', '*')
        .map((each) => ({ path: each, isDocumented: false }))
    }
  )
}

/** A request to one of `endpoints`. */
export const requestTo = (endpoints: readonly Endpoint[]): Arbitrary<FuzzedRequest> =>
  fc.constantFrom(...endpoints).chain((endpoint) =>
    fc
      .record({
        place: pathFor(endpoint.path),
        query: queryFor(endpoint.query),
        method: fc.oneof(
          { weight: 12, arbitrary: fc.constant(endpoint.method) },
          { weight: 1, arbitrary: fc.constantFrom(...METHODS.filter((method) => method !== 'CONNECT')) }
        ),
        headers: headersFor(endpoint.path),
        content: endpoint.method === 'POST' ? contentFor(endpoint) : fc.constant<Content>([undefined, undefined])
      })
      .map(({ place, query, method, headers, content: [type, body] }) => ({
        endpoint: place.isDocumented && method === endpoint.method ? endpoint : undefined,
        method,
        url: `${place.path}${query}`,
        headers: type === undefined ? headers : { ...headers, 'content-type': asHeader(type) },
        body
      }))
  )

/** Values of fields that are not texts. */
const plain = {
  is_active: true,
  immediate: true,
  overlap: 60,
  claims: { team: 'blue' },
  client_id: 'shop',
  user_ids: ['{{user}}']
}

/** A usual request of each endpoint. */
export function usualRequest(endpoint: Endpoint): FuzzedRequest {
  const { method, path, fields } = endpoint
  const names =
    path === '/oauth/token'
      ? ['grant_type', 'refresh_token']
      : fields.filter((name) => path.startsWith('/api/admin/') || !name.startsWith('client_'))
  const token = path.includes('sliding') ? '{{sliding}}' : /reset|redeem/.test(path) ? '{{invite}}' : '{{access}}'
  const username = path.startsWith('/api/admin/') ? 'kim' : 'vitor'
  const values: Readonly<Record<string, unknown>> = { token, tokens: [token], username, ...plain }
  const pairs = names
    .map((name) => [name, values[name] ?? expected[name]?.[0]] as const)
    .filter(([, value]) => value !== undefined)
  const isForm = path.startsWith('/oauth/')
  return {
    endpoint,
    method,
    url: usualPath(path),
    headers: {
      authorization: usualAuthorization(path),
      ...(fields.length > 0 && { 'content-type': isForm ? form : json })
    },
    body: fields.length === 0 ? undefined : isForm ? asForm(pairs) : asJson(pairs)
  }
}
