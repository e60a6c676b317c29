import { showTime } from '../time.ts'
import type { User } from './user.ts'

/** Export formats, which `users import` reads. */
export const exportFormats = ['ndjson', 'csv'] as const
export type ExportFormat = (typeof exportFormats)[number]

/** An export as text, one chunk per page of users; CSV begins with a header. It contains password digests. */
export async function* exportText(pages: AsyncIterable<readonly User[]>, format: ExportFormat): AsyncGenerator<string> {
  if (format === 'csv') yield `${columns.join(',')}\n`
  const toLine = format === 'csv' ? toCsvLine : toJsonLine
  for await (const page of pages) yield page.map((user) => `${toLine(toFields(user))}\n`).join('')
}

const columns = ['id', 'username', 'password_hash', 'is_active', 'created_at', 'last_login_at', 'claims'] as const

type Fields = Readonly<Record<(typeof columns)[number], unknown>>

const toFields = (user: User): Fields => ({
  id: user.id,
  username: user.username,
  password_hash: user.passwordHash,
  is_active: user.isActive,
  created_at: showTime(user.createdAt),
  last_login_at: user.lastLoginAt === undefined ? null : showTime(user.lastLoginAt),
  claims: user.claims
})

const toJsonLine = (fields: Fields): string => JSON.stringify(fields)

const toCsvLine = (fields: Fields): string => columns.map((name) => toCsv(fields[name])).join(',')

/** RFC 4180 §2: fields with a comma, a quote or a line break are quoted, and quotes are doubled. */
function toCsv(value: unknown): string {
  const text = typeof value === 'object' ? (value === null ? '' : JSON.stringify(value)) : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
