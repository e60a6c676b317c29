import { showTime } from '../time.ts'
import type { User } from './user.ts'

/** How users are written for `users import` to read again. */
export const exportFormats = ['ndjson', 'csv'] as const
export type ExportFormat = (typeof exportFormats)[number]

/** An export as text, a piece for each page of users; with CSV a header comes first. It holds password digests. */
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

/** RFC 4180 §2: what holds a comma, a quote or the end of a line is quoted, and a quote is doubled. */
function toCsv(value: unknown): string {
  const text = typeof value === 'object' ? (value === null ? '' : JSON.stringify(value)) : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
