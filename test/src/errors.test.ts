import t from 'tap'
import { type ErrorCode, errorTable, KeyturnError } from '../../src/errors.ts'

t.test('an error has the status and the body of its row', async (t) => {
  const expired = new KeyturnError('TOKEN_EXPIRED', { detail: 'sid 1', cause: new Error('inner') })
  t.match(expired, { name: 'KeyturnError', status: 401, message: 'TOKEN_EXPIRED: sid 1', cause: { message: 'inner' } })
  t.same(expired.body, { detail: 'Token is expired', code: 'token_not_valid' }, 'the detail is for the log')
  t.same(new KeyturnError('LOGIN_FAILED').body, { detail: 'No active account found with the given credentials' })
  t.equal(new KeyturnError('LOGIN_FAILED').message, 'LOGIN_FAILED')
  const fields = { username: ['This field is required.'] } as const
  t.same(new KeyturnError('FIELDS_INVALID', { fields }).body, fields)
  t.equal(new KeyturnError('BUSY', { retryAfter: 3 }).retryAfter, 3)
})

t.test('only a fault of ours says where it was thrown', async (t) => {
  t.notMatch(new KeyturnError('BUSY').stack, /\n {4}at /)
  t.match(new KeyturnError('SERVER_ERROR').stack, /\n {4}at /)
  t.match(new Error('any other').stack, /\n {4}at /, 'as does any other error')
  const cause = new Error('inner')
  t.match((new KeyturnError('STORE_DOWN', { cause }).cause as Error).stack, /\n {4}at /)
})

t.test('a text that takes a detail contains it', async (t) => {
  const textOf = (code: ErrorCode, detail?: string) =>
    (new KeyturnError(code, detail === undefined ? {} : { detail }).body as { detail: string }).detail
  t.equal(textOf('METHOD', 'PUT'), 'Method "PUT" not allowed.')
  t.equal(textOf('MEDIA_TYPE', 'text/plain'), 'Unsupported media type "text/plain" in request.')
  t.equal(textOf('RATE_LIMITED', '12'), 'Request was throttled. Expected available in 12 seconds.')
  t.equal(textOf('RATE_LIMITED', '1'), 'Request was throttled. Expected available in 1 second.')
  t.match(textOf('TOO_LARGE', '16384'), /at most 16384 bytes/)
  t.equal(textOf('BODY_UNREADABLE', 'JSON parse error - x'), 'JSON parse error - x')
  t.equal(textOf('BODY_UNREADABLE'), '')
})

t.test('every row is a refusal', async (t) => {
  for (const [code, row] of Object.entries(errorTable)) t.ok(row.status >= 400 && row.status < 600, code)
})
