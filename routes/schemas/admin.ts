import type { ErrorCode, KeyturnError } from '../../src/errors.ts'
import type { ManagementScope } from '../../src/flows/management/act.ts'
import type { User } from '../../src/users/user.ts'
import { showTime } from '../../src/time.ts'
import { bearerRefusals, bodyRefusals, refusals } from './errors.ts'

/** Errors of every management endpoint, and further ones. */
export const adminRefusals = (...named: readonly (ErrorCode | KeyturnError | number)[]) =>
  refusals(...bearerRefusals, 'SCOPE_MISSING', 429, 503, ...named)

/** The same for an endpoint with a body. */
export const adminBodyRefusals = (...named: readonly (ErrorCode | KeyturnError | number)[]) =>
  adminRefusals(...bodyRefusals, ...named)

/** The description of an endpoint, with its scope. */
export const needs = (scope: ManagementScope, text: string): string => `${text} Scope: ${scope}.`

/** What the schemas of all management endpoints share. */
export const management = { tags: ['management'], security: [{ bearer: [] }] }

/** With MANAGEMENT_PORT, management endpoints are served there only. */
export const onManagementPort = { isManagement: true }

const time = { type: 'string', format: 'date-time' } as const
const timeOrNull = { type: ['string', 'null'], format: 'date-time' } as const

export const aUserId = '49f6c732-1f6b-4a53-9d0a-7b0a5d0f3c11'

export const UserPath = {
  type: 'object',
  required: ['id'],
  properties: { id: { type: 'string', description: 'Id of the user', examples: [aUserId] } }
} as const

/** A page of a list. */
export const pageOf = (title: string, item: object, examples: readonly object[]) => ({
  title,
  description: 'A page',
  type: 'object',
  required: ['results', 'next'],
  properties: {
    results: { type: 'array', items: item },
    next: { type: ['string', 'null'], description: 'Cursor of the next page; null on the last page' }
  },
  examples: [{ results: examples, next: null }]
})

export const UserItem = {
  type: 'object',
  required: ['id', 'username', 'is_active', 'created_at', 'last_login_at', 'claims'],
  properties: {
    id: { type: 'string' },
    username: { type: 'string' },
    is_active: { type: 'boolean', description: 'Whether the user may log in and refresh' },
    created_at: time,
    last_login_at: timeOrNull,
    claims: { type: 'object', additionalProperties: true, description: 'Custom claims of access tokens' }
  }
}

export const anExampleUser = {
  id: aUserId,
  username: 'vitor',
  is_active: true,
  created_at: '2026-01-31T12:00:00Z',
  last_login_at: '2026-01-31T12:04:00Z',
  claims: { team: 'blue' }
}

export const KeyItem = {
  type: 'object',
  required: ['kid', 'algorithm', 'state', 'published_at', 'activated_at', 'retired_at'],
  properties: {
    kid: { type: 'string' },
    algorithm: { type: 'string' },
    state: { type: 'string', enum: ['next', 'active', 'retired'] },
    published_at: time,
    activated_at: timeOrNull,
    retired_at: timeOrNull
  }
}

export const aKey = {
  kid: 'Z-fkoUfA',
  algorithm: 'ES256',
  state: 'next',
  published_at: '2026-01-31T12:00:00Z',
  activated_at: null,
  retired_at: null
}

/** A user as the management endpoints return it: never the password digest. */
export const showUser = ({ id, username, isActive, createdAt, lastLoginAt, claims }: User) => ({
  id,
  username,
  is_active: isActive,
  created_at: showTime(createdAt),
  last_login_at: lastLoginAt === undefined ? null : showTime(lastLoginAt),
  claims
})
