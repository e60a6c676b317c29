/*
 * How Simple JWT's endpoints respond to a request, for any user: methods, content types, bodies, field values.
 * Recorded from its newest source on a live server; rows that begin with "Keyturn:" differ on purpose, and say how.
 */
import { METHODS } from 'node:http'
import { Readable } from 'node:stream'
import type { InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { aPassword, openApp } from '../support/app.ts'

const endpoints = [
  { path: '/api/token/', name: 'Token Obtain Pair', fields: ['username', 'password'] },
  { path: '/api/token/refresh/', name: 'Token Refresh', fields: ['refresh'] },
  { path: '/api/token/verify/', name: 'Token Verify', fields: ['token'] },
  { path: '/api/token/blacklist/', name: 'Token Blacklist', fields: ['refresh'] },
  { path: '/api/token/sliding/', name: 'Token Obtain Sliding', fields: ['username', 'password'] },
  { path: '/api/token/sliding/refresh/', name: 'Token Refresh Sliding', fields: ['token'] }
] as const

const json = { 'content-type': 'application/json' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }
const boundary = { 'content-type': 'multipart/form-data; boundary=----part' }

/** One part of a multipart body; with a file name it is an uploaded file. */
const part = (name: string, value: string, filename?: string): string =>
  `------part\r\nContent-Disposition: form-data; name="${name}"${filename === undefined ? '' : `; filename="${filename}"`}\r\n\r\n${value}\r\n`

/** A part in this Content-Transfer-Encoding. */
const encodedPart = (encoding: string, name: string, value: string): string =>
  part(name, value).replace('\r\n\r\n', `\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n`)

const multipart = (...parts: readonly string[]): string => `${parts.join('')}------part--\r\n`

interface Row {
  readonly name: string
  readonly status: number
  /** The exact body. */
  readonly answer: string
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Buffer | Readable
}

const { app, logIn } = await openApp(t, { SLIDING_TOKENS: 'true' })
const login = await logIn('42')

/** Sends a row to an endpoint, and compares the response with Simple JWT's, and the headers that every response has. */
async function check(t: Test, path: string, row: Row): Promise<void> {
  const request: InjectOptions = {
    method: (row.method ?? 'POST') as 'POST',
    url: path,
    headers: row.headers ?? {},
    ...(row.body === undefined ? {} : { payload: row.body })
  }
  const { statusCode, body, headers } = await app.inject(request)
  t.same(
    {
      status: statusCode,
      body,
      type: headers['content-type'],
      allow: headers.allow,
      vary: headers.vary,
      challenge: headers['www-authenticate'],
      location: headers.location
    },
    {
      status: row.status,
      body: row.answer,
      type: 'application/json',
      allow: 'POST, OPTIONS',
      vary: 'Accept',
      challenge: row.status === 401 ? 'Bearer realm="api"' : undefined,
      location: undefined
    },
    row.name
  )
}

const detail = (text: string): string => JSON.stringify({ detail: text })
const fault = (fields: readonly string[], ...messages: readonly string[]): string =>
  JSON.stringify(Object.fromEntries(fields.map((field) => [field, messages])))
const whole = (message: string): string => JSON.stringify({ non_field_errors: [message] })

t.test('methods', async (t) => {
  for (const { path, name } of endpoints) {
    // CONNECT asks a proxy for a tunnel, and never reaches an application.
    for (const method of METHODS.filter((method) => !['POST', 'OPTIONS', 'CONNECT'].includes(method))) {
      const answer = method === 'HEAD' ? '' : detail(`Method "${method}" not allowed.`)
      await check(t, path, { name: `${method} ${path}`, method, status: 405, answer })
    }
    const options = await app.inject({ method: 'OPTIONS', url: path })
    t.equal(options.statusCode, 200)
    t.match(options.headers, { allow: 'POST, OPTIONS', vary: 'Accept', 'content-type': 'application/json' })
    t.match(options.json(), {
      name,
      description: String,
      renders: ['application/json'],
      parses: ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data']
    })
    await check(t, path, {
      name: 'the method is looked at before the body',
      method: 'PUT',
      headers: json,
      body: '{',
      status: 405,
      answer: detail('Method "PUT" not allowed.')
    })
  }
})

t.test('content types', async (t) => {
  const rows: readonly Row[] = [
    {
      name: 'another type',
      headers: { 'content-type': 'text/plain' },
      body: 'x',
      status: 415,
      answer: detail('Unsupported media type "text/plain" in request.')
    },
    {
      name: 'another type, with a parameter',
      headers: { 'content-type': 'application/xml; charset=utf-8' },
      body: '<a/>',
      status: 415,
      answer: detail('Unsupported media type "application/xml; charset=utf-8" in request.')
    },
    {
      name: 'no type but a body',
      body: '{}',
      status: 415,
      answer: detail('Unsupported media type "" in request.')
    },
    {
      name: 'a type that is none',
      headers: { 'content-type': 'json' },
      body: '{}',
      status: 415,
      answer: detail('Unsupported media type "json" in request.')
    },
    {
      name: 'multipart without a boundary',
      headers: { 'content-type': 'multipart/form-data' },
      body: multipart(),
      status: 400,
      answer: detail('Multipart form parse error - Invalid boundary in multipart: None')
    },
    {
      name: 'Keyturn: multipart that is broken (the rest of the words is its own)',
      headers: boundary,
      body: 'token=x',
      status: 400,
      answer: detail('Multipart form parse error - the body is not what its boundary says')
    },
    ...['quoted-printable', 'x-uuencode', 'base64url', ''].map((encoding) => ({
      name: `Keyturn: a part in ${encoding}, which Django takes for the text itself`,
      headers: boundary,
      body: multipart(encodedPart(encoding, 'token', 'x')),
      status: 400,
      answer: detail('Multipart form parse error - a part has a Content-Transfer-Encoding other than base64')
    })),
    ...['x', 'eA', 'eA==x', 'e_8='].map((value) => ({
      name: `Keyturn: a part whose base64 is invalid: ${value}`,
      headers: boundary,
      body: multipart(encodedPart('base64', 'token', value)),
      status: 400,
      answer: detail('Multipart form parse error - a part has invalid base64')
    }))
  ]
  for (const { path } of endpoints) for (const row of rows) await check(t, path, row)

  const { access } = login
  const inBase64 = (text: string): string => Buffer.from(text).toString('base64')
  const inLines = inBase64(access).replace(/.{76}/g, '$&\r\n')
  const good: readonly (readonly [name: string, type: string, body: string])[] = [
    ['JSON', 'application/json', JSON.stringify({ token: access })],
    ['JSON with a charset', 'application/json; charset=utf-8', JSON.stringify({ token: access })],
    ['JSON in capitals', 'APPLICATION/JSON', JSON.stringify({ token: access })],
    ['a form', 'application/x-www-form-urlencoded', `token=${access}`],
    ['a form, mixed case', 'Application/X-WWW-Form-URLEncoded; charset=UTF-8', `token=${access}`],
    ['multipart', 'multipart/form-data; boundary=----part', multipart(part('token', access))],
    ['multipart, mixed case', 'Multipart/Form-Data; Boundary=----part', multipart(part('token', access))],
    ['multipart, quoted boundary', 'multipart/form-data; boundary="----part"', multipart(part('token', access))],
    ['multipart, an unquoted name', boundary['content-type'], multipart(part('token', access).replaceAll('"', ''))],
    ['multipart, a preamble', boundary['content-type'], `This is a form.\r\n${multipart(part('token', access))}`],
    ['multipart, an epilogue', boundary['content-type'], `${multipart(part('token', access))}That was a form.`],
    ['multipart, no line break at the end', boundary['content-type'], multipart(part('token', access)).trimEnd()],
    [
      'multipart, white space after each boundary (RFC 2046 §5.1.1)',
      boundary['content-type'],
      multipart(part('a', ' '), part('token', access)).replaceAll(/^------part(--)?/gm, '$& \t ')
    ],
    ['multipart, in base64', boundary['content-type'], multipart(encodedPart('Base64', 'token', inBase64(access)))],
    ['multipart, in lines of base64', boundary['content-type'], multipart(encodedPart('base64 ', 'token', inLines))],
    ...['7bit', '8BIT', 'binary'].map(
      (encoding) =>
        [
          `multipart, in ${encoding}`,
          boundary['content-type'],
          multipart(encodedPart(encoding, 'token', access))
        ] as const
    ),
    [
      'multipart, other parts beside it',
      boundary['content-type'],
      multipart(part('picture', 'x', 'x.png'), '------part\r\nX: y\r\n\r\nz\r\n', part('token', access))
    ],
    ['unknown fields', 'application/json', JSON.stringify({ user: 1, token: access, more: [{}] })],
    ['of repeated keys in JSON the last counts', 'application/json', `{"token":"x","token":"${access}"}`],
    ['of repeated keys in a form the last counts', 'application/x-www-form-urlencoded', `token=x&token=${access}`],
    [
      'of repeated parts the last counts',
      'multipart/form-data; boundary=----part',
      multipart(part('token', 'x'), part('token', access))
    ]
  ]
  for (const [name, type, body] of good) {
    for (const chunked of [false, true]) {
      // Keyturn: Django behind Gunicorn does not see a body without Content-Length.
      const headers = { 'content-type': type, ...(chunked ? { 'transfer-encoding': 'chunked' } : {}) }
      const sent = chunked ? Readable.from([body.slice(0, 5), body.slice(5)]) : body
      const row = { name: `${name}${chunked ? ', chunked' : ''}`, headers, body: sent }
      await check(t, '/api/token/verify/', { ...row, status: 200, answer: '{}' })
    }
  }
})

t.test('a password in base64 is decoded, also if it is not ASCII', async (t) => {
  const { addUser, post } = await openApp(t)
  await addUser('vitor', 'pässword \u{1f511}')
  const encoded = Buffer.from('pässword \u{1f511}').toString('base64')
  const body = multipart(part('username', 'vitor'), encodedPart('base64', 'password', encoded))
  t.equal((await post('/api/token/', body, boundary)).statusCode, 200)
  const bare = multipart(part('username', 'vitor'), part('password', encoded))
  t.equal((await post('/api/token/', bare, boundary)).statusCode, 401)
})

t.test('bodies', async (t) => {
  const unreadable = detail('JSON parse error - the body is not valid JSON')
  const notUtf8 = detail('JSON parse error - the body is not UTF-8')
  const tooDeep = detail('JSON parse error - the body is nested more than 32 levels deep')
  const list = whole('Invalid data. Expected a dictionary, but got list.')
  for (const { path, fields } of endpoints) {
    const required = fault(fields, 'This field is required.')
    const members = fields.map((field) => `"${field}":"x"`).join()
    // The rest of the words of a parse error is Python's own, and Keyturn's here.
    const rows: readonly Row[] = [
      { name: 'no body at all', status: 400, answer: required },
      { name: 'no body, but a type', headers: json, status: 400, answer: required },
      {
        name: 'no body, and an unknown type',
        headers: { 'content-type': 'text/plain' },
        status: 400,
        answer: required
      },
      {
        name: 'a chunked body that is empty',
        headers: { ...json, 'transfer-encoding': 'chunked' },
        body: Readable.from([]),
        status: 400,
        answer: required
      },
      {
        name: 'Keyturn: a chunked body of another type',
        headers: { 'content-type': 'text/plain', 'transfer-encoding': 'chunked' },
        body: Readable.from(['x']),
        status: 415,
        answer: detail('Unsupported media type "text/plain" in request.')
      },
      {
        name: 'Keyturn: a chunked body beyond the limit',
        headers: { ...json, 'transfer-encoding': 'chunked' },
        body: Readable.from(['[', ' '.repeat(20_000), ']']),
        status: 413,
        answer: detail('The request body is too large: at most 16384 bytes are read.')
      },
      {
        name: 'Keyturn: more parts than any form has',
        headers: boundary,
        body: multipart(part('a', 'x').repeat(101)),
        status: 400,
        answer: detail('Multipart form parse error - the body is not what its boundary says')
      },
      { name: 'an empty object', headers: json, body: '{}', status: 400, answer: required },
      { name: 'an empty form', headers: form, body: '&', status: 400, answer: required },
      { name: 'an empty multipart', headers: boundary, body: multipart(), status: 400, answer: required },
      {
        name: 'fields of a prototype',
        headers: json,
        body: `{"__proto__":{${members}}}`,
        status: 400,
        answer: required
      },
      {
        name: 'nor of a constructor',
        headers: json,
        body: `{"constructor":{"prototype":{${members}}},"__proto__":1}`,
        status: 400,
        answer: required
      },
      { name: 'JSON cut short', headers: json, body: `{${members}`, status: 400, answer: unreadable },
      { name: 'only white space', headers: json, body: ' \n', status: 400, answer: unreadable },
      { name: 'NaN', headers: json, body: `{${members},"n":NaN}`, status: 400, answer: unreadable },
      { name: 'Infinity', headers: json, body: `{${members},"n":-Infinity}`, status: 400, answer: unreadable },
      { name: 'a byte order mark', headers: json, body: `\ufeff{${members}}`, status: 400, answer: unreadable },
      { name: 'a comma too many', headers: json, body: `{${members},}`, status: 400, answer: unreadable },
      { name: 'single quotes', headers: json, body: "{'a':1}", status: 400, answer: unreadable },
      { name: 'a raw control character', headers: json, body: '{"a":"\u0001"}', status: 400, answer: unreadable },
      {
        name: 'bytes that are not UTF-8',
        headers: json,
        body: Buffer.from(`{${members},"n":"\xe9"}`, 'latin1'),
        status: 400,
        answer: notUtf8
      },
      {
        name: 'a surrogate encoded as UTF-8 would not have it',
        headers: json,
        body: Buffer.concat([Buffer.from('{"n":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')]),
        status: 400,
        answer: notUtf8
      },
      { name: 'null', headers: json, body: 'null', status: 400, answer: whole('No data provided') },
      { name: 'an array', headers: json, body: `[{${members}}]`, status: 400, answer: list },
      {
        name: 'a string',
        headers: json,
        body: '"x"',
        status: 400,
        answer: whole('Invalid data. Expected a dictionary, but got str.')
      },
      {
        name: 'a whole number',
        headers: json,
        body: '7',
        status: 400,
        answer: whole('Invalid data. Expected a dictionary, but got int.')
      },
      {
        name: 'a fraction',
        headers: json,
        body: '7.5',
        status: 400,
        answer: whole('Invalid data. Expected a dictionary, but got float.')
      },
      {
        name: 'a boolean',
        headers: json,
        body: 'false',
        status: 400,
        answer: whole('Invalid data. Expected a dictionary, but got bool.')
      },
      { name: '32 levels', headers: json, body: '['.repeat(32) + ']'.repeat(32), status: 400, answer: list },
      ...[
        ['33 levels', '['.repeat(33) + ']'.repeat(33)],
        ['33 levels of both kinds', `${'{"a":['.repeat(17)}${']}'.repeat(17)}`],
        ['8,000 levels', '['.repeat(8000) + ']'.repeat(8000)],
        ['16,000 brackets left open', '['.repeat(16_000)]
      ].map(([name = '', body = '']) => ({
        name: `Keyturn: ${name}, not the 500 of a RecursionError`,
        headers: json,
        body,
        status: 400,
        answer: tooDeep
      })),
      {
        name: 'brackets in a string are not levels',
        headers: json,
        body: `{"a":"\\"${'['.repeat(40)}\\\\"}`,
        status: 400,
        answer: required
      },
      {
        name: 'Keyturn: a body has a limit, and 100,000 brackets pass it',
        headers: json,
        body: '['.repeat(100_000),
        status: 413,
        answer: detail('The request body is too large: at most 16384 bytes are read.')
      }
    ]
    for (const row of rows) await check(t, path, { ...row, name: `${path} ${row.name}` })
  }
})

t.test('field values', async (t) => {
  const blank = 'This field may not be blank.'
  const invalid = 'Not a valid string.'
  const nul = 'Null characters are not allowed.'
  const surrogate = (code: string): string => `Surrogate characters are not allowed: U+${code}.`
  const values: readonly (readonly [value: string, ...messages: string[]])[] = [
    ['null', 'This field may not be null.'],
    ['""', blank],
    ['" \\t\\r\\n"', blank],
    // What Python's str.strip takes for white space, and JavaScript's trim in part does not.
    ['"\\u001c\\u001f\\u0085\\u00a0\\u1680\\u2003\\u2028\\u3000"', blank],
    ['true', invalid],
    ['false', invalid],
    ['[]', invalid],
    ['["x"]', invalid],
    ['{"a":"x"}', invalid],
    ['"a\\u0000b"', nul],
    ['"\\u0000"', nul],
    ['"\\ud800"', surrogate('D800')],
    ['"a\\udfffb\\ud83d"', surrogate('DFFF')],
    ['"\\u0000\\udc00"', nul, surrogate('DC00')]
  ]
  for (const { path, fields } of endpoints) {
    for (const [value, ...messages] of values) {
      const body = `{${fields.map((field) => `"${field}":${value}`).join()}}`
      await check(t, path, {
        name: `${path} ${value}`,
        headers: json,
        body,
        status: 400,
        answer: fault(fields, ...messages)
      })
    }
    await check(t, path, {
      name: `${path} an uploaded file`,
      headers: boundary,
      body: multipart(...fields.map((field) => part(field, 'x', 'x.txt'))),
      status: 400,
      answer: fault(fields, invalid)
    })
    await check(t, path, {
      name: `${path} NUL in a form`,
      headers: form,
      body: fields.map((field) => `${field}=a%00`).join('&'),
      status: 400,
      answer: fault(fields, nul)
    })
    await check(t, path, {
      name: `${path} a byte order mark is a character like others, and no white space`,
      headers: json,
      body: `{${fields.map((field) => `"${field}":"\ufeff"`).join()}}`,
      status: 401,
      answer:
        path === '/api/token/' || path === '/api/token/sliding/'
          ? detail('No active account found with the given credentials')
          : JSON.stringify({ detail: 'Token is invalid', code: 'token_not_valid' })
    })
  }
  await check(t, '/api/token/', {
    name: 'all invalid fields are reported at once, in their order',
    headers: json,
    body: '{"password":true}',
    status: 400,
    answer: '{"username":["This field is required."],"password":["Not a valid string."]}'
  })
  await check(t, '/api/token/', {
    name: 'only the faulty ones',
    headers: json,
    body: '{"username":"x","password":" "}',
    status: 400,
    answer: '{"password":["This field may not be blank."]}'
  })
})

t.test('numbers are read as their text, and white space around is trimmed', async (t) => {
  const { addUser, post } = await openApp(t)
  await addUser('42', '123')
  await addUser('half', '-1.5')
  await addUser('blanks', ' 123')
  await addUser('inner', 'a  b')
  const status = async (username: unknown, password: unknown): Promise<number> =>
    (await post('/api/token/', { username, password })).statusCode
  t.equal(await status(42, 123), 200)
  t.equal(await status('42', '123'), 200)
  t.equal(await status('half', -1.5), 200)
  t.equal(await status(' 42\n', '\u2003123\u001c'), 200)
  t.equal(await status('42', '\ufeff123'), 401, 'a byte order mark stays')
  t.equal(await status('42', '123\u200b'), 401, 'and so does a zero-width space')
  t.equal(await status('blanks', ' 123'), 401, 'a password that begins with a space can never match')
  t.equal(await status('inner', ' a  b '), 200)
  t.equal(await status('inner', 'a b'), 401, 'white space inside counts')
  t.equal(await status('42', 1234), 401)
})

t.test('Keyturn: a JSON number is read digit for digit', async (t) => {
  const { addUser, post } = await openApp(t)
  const numbers = ['9007199254740993', '12345678901234567890123', '1.0', '-0', '1e3', '0.10', '1E+400']
  for (const digits of numbers) await addUser(digits, digits)
  const logIn = async (username: string, password: string): Promise<number> => {
    const body = `{"a":[1.0, {"b":2.50}], "username": ${username} ,"password":${password}}`
    return (await post('/api/token/', body, { 'content-type': 'application/json' })).statusCode
  }
  for (const digits of numbers) {
    t.equal(await logIn(digits, digits), 200, digits)
    t.equal(await logIn(`"${digits}"`, `"${digits}"`), 200, `"${digits}"`)
  }
  t.equal(await logIn('9007199254740992', '9007199254740993'), 401, 'the next number is another name')
  t.equal(await logIn('9007199254740993', '9007199254740992'), 401, 'and another password')
  t.equal(await logIn('1', '1.0'), 401)
  for (const digits of ['01', '1.', '.5', '+1', '1e', '--1', '0x10', '1_0'])
    t.equal(await logIn(digits, '"x"'), 400, `${digits} is not JSON`)
})

t.test('headers of the request', async (t) => {
  const path = '/api/token/verify/'
  const good = { headers: json, body: JSON.stringify({ token: login.access }), status: 200, answer: '{}' }
  const accepted = [
    '*/*',
    'application/json',
    'application/*',
    'APPLICATION/JSON',
    'text/html, application/json;q=0.5',
    'text/html,*/*;q=0.1',
    'application/json; indent=4'
  ]
  for (const accept of accepted) {
    await check(t, path, { name: `Accept: ${accept}`, ...good, headers: { ...json, accept } })
  }
  for (const accept of ['text/html', 'application/xml, text/*', 'application/jsonp', 'application/problem+json']) {
    for (const { path } of endpoints) {
      const refused = { status: 406, answer: detail('Could not satisfy the request Accept header.') }
      await check(t, path, { name: `Accept: ${accept}`, headers: { ...json, accept }, body: '{}', ...refused })
      await check(t, path, { name: 'asked before the method', method: 'GET', headers: { accept }, ...refused })
      await check(t, path, { name: 'and before the body', headers: { ...json, accept }, body: '{', ...refused })
    }
  }
  for (const authorization of ['Bearer', 'Bearer x', 'Basic dTpw', `Bearer ${login.refresh}`]) {
    const name = `Authorization is not read here: ${authorization.slice(0, 10)}`
    await check(t, path, { name, ...good, headers: { ...json, authorization } })
  }
})

t.test('Keyturn: both spellings of a path answer in place, where Simple JWT redirects', async (t) => {
  for (const { path, fields } of endpoints) {
    const row = { status: 400, answer: fault(fields, 'This field is required.') }
    await check(t, path.slice(0, -1), { name: path.slice(0, -1), ...row })
    await check(t, `${path}?format=json`, { name: `${path}?format=json`, ...row })
    await check(t, path.slice(0, -1), {
      name: `GET ${path.slice(0, -1)}`,
      method: 'GET',
      status: 405,
      answer: detail('Method "GET" not allowed.')
    })
  }
  const nowhere = await app.inject('/api/')
  t.equal(nowhere.statusCode, 404)
  t.equal(nowhere.body, detail('Not found.'))
})

t.test('the order of the members in an answer, and what goes with tokens', async (t) => {
  const { logIn, post } = await openApp(t)
  const { userId: _, ...pair } = await logIn()
  const text = '"[\\w-]+\\.[\\w-]+\\.[\\w-]+"'
  const login = await post('/api/token/', { username: 'vitor', password: aPassword })
  t.equal(login.statusCode, 200)
  t.match(login.body, new RegExp(`^{"refresh":${text},"access":${text}}$`))
  const refresh = await post('/api/token/refresh/', { refresh: pair.refresh })
  t.equal(refresh.statusCode, 200)
  t.match(refresh.body, new RegExp(`^{"access":${text},"refresh":${text}}$`))
  for (const answer of [login, refresh]) {
    t.match(answer.headers, { 'content-type': 'application/json', allow: 'POST, OPTIONS', vary: 'Accept' })
    t.equal(answer.headers['cache-control'], 'no-store', 'Keyturn: an answer with tokens is never kept')
  }
  for (const path of ['/api/token/verify/', '/api/token/blacklist/']) {
    const answer = await post(path, { token: pair.access, refresh: refresh.json().refresh })
    t.equal(answer.body, '{}')
    t.equal(answer.headers['cache-control'], undefined)
  }
})
