import { digestKind } from '../passwords/digest.ts'
import { normalizeUsername, type User, usernameFault } from './user.ts'

/** A user in a dump; members are undefined if the dump lacks them. The password digest is kept unchanged. */
export interface GivenUser extends Pick<User, 'username' | 'passwordHash'> {
  readonly id: User['id'] | undefined
  readonly isActive: boolean | undefined
  readonly createdAt: number | undefined
  readonly lastLoginAt: number | undefined
  readonly claims: User['claims'] | undefined
}

export interface ImportOptions {
  /** Django's label of the user model in the dump. */
  readonly model: string
  /** The field with the username: Django's USERNAME_FIELD. */
  readonly usernameField: string
  /** Fields to store as custom claims. */
  readonly claimFields: readonly string[]
  /** Why a value cannot be custom claims; undefined if it can. */
  readonly claimsFault: (claims: unknown) => string | undefined
}

/** The result of reading an entry: a user, the label of another model, or all reasons why it is refused. */
export type Reading =
  | { readonly kind: 'user'; readonly user: GivenUser }
  | { readonly kind: 'other'; readonly model: string }
  | { readonly kind: 'refused'; readonly reason: string; readonly id?: string; readonly username?: string }

type Fields = Readonly<Record<string, unknown>>

/** The names of each field: Keyturn's and Django's. The first one present counts. */
const names = {
  password: ['password_hash', 'password'],
  isActive: ['is_active'],
  createdAt: ['created_at', 'date_joined'],
  lastLoginAt: ['last_login_at', 'last_login']
} as const

/**
 * Reads an entry of a dump: an object of Django's `dumpdata` (`{model, pk, fields}`), or one with the columns of Django's
 * auth_user or of `users export` as members. Never throws; a reason never contains a digest.
 */
export function readUser(entry: unknown, options: ImportOptions): Reading {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry))
    return { kind: 'refused', reason: 'is not an object' }
  const { model, pk, fields } = entry as Fields
  if (typeof model !== 'string' || typeof fields !== 'object' || fields === null)
    return readFields(entry as Fields, options)
  if (model.toLowerCase() !== options.model.toLowerCase()) return { kind: 'other', model }
  if (pk === undefined || pk === null)
    return { kind: 'refused', reason: 'has no pk, which user_id claims contain: dump it without --natural-primary' }
  return readFields({ ...fields, id: pk }, options)
}

/** Why a CSV with these columns cannot contain users, in one sentence; undefined if it can. */
export function headerFault(columns: readonly string[], { usernameField }: ImportOptions): string | undefined {
  const missing = [[usernameField], names.password].find((each) => !each.some((name) => columns.includes(name)))
  return missing === undefined
    ? undefined
    : `Its first line is not a header for users: expected JSON, or CSV with a column ${missing.join(' or ')}.`
}

function readFields(fields: Fields, { usernameField, claimFields, claimsFault }: ImportOptions): Reading {
  const faults: string[] = []
  const read = <T>(parse: (value: unknown) => T, candidates: readonly string[]): T | undefined => {
    const name = candidates.find((each) => Object.hasOwn(fields, each)) ?? (candidates[0] as string)
    try {
      return parse(Object.hasOwn(fields, name) ? fields[name] : undefined)
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      faults.push(`${name} ${error.message}`)
      return undefined
    }
  }
  const id = read(parseId, ['id'])
  const username = read(parseUsername, [usernameField])
  const passwordHash = read(parseDigest, names.password)
  const isActive = read(parseFlag, names.isActive)
  const createdAt = read(parseTime, names.createdAt)
  const lastLoginAt = read(parseTime, names.lastLoginAt)
  const claims = read((own) => parseClaims(own, fields, claimFields, claimsFault), ['claims'])
  if (username === undefined || passwordHash === undefined || faults.length > 0) {
    const known = { ...(id !== undefined && { id }), ...(username !== undefined && { username }) }
    return { kind: 'refused', reason: faults.join('; '), ...known }
  }
  return { kind: 'user', user: { id, username, passwordHash, isActive, createdAt, lastLoginAt, claims } }
}

/** Why a value is invalid; completes a sentence that begins with the name of the field. */
class Fault extends Error {}

/** CSV has no null, so an empty field counts as null. */
const isAbsent = (value: unknown): boolean => value === undefined || value === null || value === ''

function parseId(value: unknown): string | undefined {
  if (isAbsent(value)) return undefined
  // JSON.parse has already rounded it. In CSV it is text.
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw new Fault('is not an integer that JSON represents exactly: export the table as CSV')
  const id = typeof value === 'number' ? String(value) : value
  // It becomes the user_id of tokens and is sent in headers.
  if (typeof id !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(id))
    throw new Fault('is not a number or a string of 1 to 128 visible ASCII characters')
  return id
}

function parseUsername(value: unknown): string {
  if (isAbsent(value)) throw new Fault('is missing')
  if (typeof value !== 'string') throw new Fault('is not a string')
  const username = normalizeUsername(value)
  const fault = usernameFault(username)
  if (fault !== undefined) throw new Fault(`cannot be used: ${fault.replace(/\.$/, '')}`)
  return username
}

function parseDigest(value: unknown): string {
  if (value === undefined) throw new Fault('is missing')
  if (isAbsent(value)) return ''
  // A plaintext password must not be stored, where it would look like a digest that is not supported.
  if (typeof value !== 'string' || digestKind(value) === undefined)
    throw new Fault('is not a digest of Django or Keyturn: replace it with ! to import the user without a password')
  return value
}

const flags: ReadonlyMap<unknown, boolean> = new Map<unknown, boolean>([
  ...[true, 1, 'true', 't', '1'].map((value) => [value, true] as const),
  ...[false, 0, 'false', 'f', '0'].map((value) => [value, false] as const)
])

function parseFlag(value: unknown): boolean | undefined {
  if (isAbsent(value)) return undefined
  const flag = flags.get(typeof value === 'string' ? value.toLowerCase() : value)
  if (flag === undefined) throw new Fault('is neither true nor false')
  return flag
}

const timeForm = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?\s?(Z|[+-]\d\d(?::?\d\d)?)?$/

/** Parses the time formats of Django, PostgreSQL and Keyturn to whole seconds. Without a time zone it is UTC, not local time. */
function parseTime(value: unknown): number | undefined {
  if (isAbsent(value)) return undefined
  const [, day, time, zone = 'Z'] = timeForm.exec(typeof value === 'string' ? value : '') ?? []
  const offset = zone === 'Z' ? zone : `${zone.slice(0, 3)}:${zone.slice(3).replace(':', '') || '00'}`
  const milliseconds = Date.parse(`${day}T${time}${offset}`)
  if (Number.isNaN(milliseconds)) throw new Fault('is not a time such as 2026-01-31T12:00:00Z')
  return milliseconds / 1000
}

function parseClaims(
  own: unknown,
  fields: Fields,
  claimFields: readonly string[],
  claimsFault: ImportOptions['claimsFault']
): User['claims'] | undefined {
  const chosen = claimFields.filter((name) => !isAbsent(fields[name])).map((name) => [name, fields[name]] as const)
  if (isAbsent(own) && chosen.length === 0) return undefined
  const claims = { ...parseObject(isAbsent(own) ? {} : own), ...Object.fromEntries(chosen) }
  const fault = claimsFault(claims)
  if (fault !== undefined) throw new Fault(`cannot be used: ${fault}`)
  return claims
}

/** In CSV an object is written as JSON. */
function parseObject(value: unknown): object {
  let object = value
  try {
    if (typeof value === 'string') object = JSON.parse(value)
  } catch {
    object = undefined
  }
  if (typeof object !== 'object' || object === null || Array.isArray(object)) throw new Fault('are not a JSON object')
  return object
}
