import type { UserStore } from '../../users/store.ts'
import { normalizeUsername, type User } from '../../users/user.ts'

/** A page of users by username, and the cursor of the page after it; undefined when this is the last one. */
export interface ListedUsers {
  readonly users: readonly User[]
  readonly next: string | undefined
}

export interface UserListOptions {
  readonly limit: number
  /** The cursor of the previous page: a username. */
  readonly after?: string | undefined
  /** Only usernames that begin with this, case-sensitive. */
  readonly prefix?: string | undefined
}

/** How many users one request reads at most, whatever matches. */
const maxRead = 1000

/**
 * Lists users, page by page. A prefix needs no separate index: the names that begin with it are adjacent in the order of
 * usernames, in which the list is read from the prefix on. Throws KeyturnError STORE_DOWN.
 */
export const makeListUsers =
  (users: Pick<UserStore, 'findByUsername' | 'list'>) =>
  async ({ limit, after = '', prefix = '' }: UserListOptions): Promise<ListedUsers> => {
    const start = normalizeUsername(prefix)
    if (start === '') return pageOf(await users.list(after, limit + 1), limit)
    const isFirst = after === ''
    const exact = isFirst ? await users.findByUsername(start) : undefined
    const read = await users.list(isFirst ? start : after, maxRead)
    const end = read.findIndex(({ username }) => isPast(username, start))
    const near = end === -1 ? read : read.slice(0, end)
    const matches = [
      ...(exact === undefined ? [] : [exact]),
      ...near.filter(({ username }) => username.startsWith(start))
    ]
    const page = pageOf(matches, limit)
    // There are more names than one request reads; the next one continues after them.
    const isCut = end === -1 && read.length === maxRead
    return page.next === undefined && isCut ? { ...page, next: read.at(-1)?.username } : page
  }

function pageOf(found: readonly User[], limit: number): ListedUsers {
  const users = found.slice(0, limit)
  return { users, next: found.length > limit ? users.at(-1)?.username : undefined }
}

/**
 * Whether a username comes after all that begin with `prefix`. Databases order by their own collations, most of which compare
 * letters and digits first and case, accents and punctuation last.
 */
const isPast = (username: string, prefix: string): boolean =>
  !username.startsWith(prefix) && !primary(username).startsWith(primary(prefix))

const primary = (text: string): string =>
  text
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, '')
