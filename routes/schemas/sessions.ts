import { aSessionId } from './bodies.ts'

const time = { type: 'string', format: 'date-time' }

/** A session as showSession (src/sessions/session.ts) returns it, with the schemas of `further` members, all required. */
export const sessionWith = (further: Readonly<Record<string, object>>) => {
  const properties = {
    id: { type: 'string', description: 'Id of the session; the sid claim of its tokens' },
    created_at: time,
    last_used_at: time,
    expires_at: time,
    ip: { type: 'string', description: 'Address of the login' },
    user_agent: { type: 'string' },
    ...further
  }
  return { type: 'object', required: Object.keys(properties), properties }
}

export const anExampleSession = {
  id: aSessionId,
  created_at: '2026-01-31T12:00:00Z',
  last_used_at: '2026-01-31T12:04:00Z',
  expires_at: '2026-02-01T12:04:00Z',
  ip: '203.0.113.7',
  user_agent: 'curl/8.5.0'
}
