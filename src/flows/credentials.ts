import { type FieldMessage, KeyturnError } from '../errors.ts'
import type { Credentials } from '../hooks.ts'
import { digestToVerify } from '../passwords/digest.ts'
import { maxPasswordBytes } from '../passwords/policy.ts'
import { hmac } from '../random.ts'
import { isUnchanged, maxUsernameLength, normalizeUsername, type User } from '../users/user.ts'
import type { ChargeUser } from './guessing.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'

/** The user and what became of the digest; or, for the audit trail, the user that the name matched. */
export type CheckedCredentials =
  | { readonly isRight: true; readonly user: User; readonly outcome: Outcome }
  | { readonly isRight: false; readonly userId: string | undefined }

/**
 * Checks a username and a password. Returns the user, if the user may log in, and whether a digest in another than the
 * configured format was replaced. An unknown name, a wrong password and a user who may not log in get the same answer after the
 * same work. Throws the errors of `chargeUser`, and KeyturnError FIELDS_INVALID for a field that is too long, BUSY if too many
 * logins wait, and RULE_FAILED if the hook userAuthenticationRule fails.
 *
 * The work is the same although the users of a table have digests of several formats and costs: the password for an unknown
 * name is verified against a decoy, which has the cost of some user's digest. A keyed hash of the name selects that user, so a
 * name always costs the same, and the costs of unknown names are distributed like those of users. A single decoy would reveal
 * every user whose digest has another cost. The costs of recent logins would not work either: users who log in have new
 * digests, and an attacker could shift the distribution by logging in repeatedly.
 */
export const makeCheckCredentials =
  ({ users, hasher, decoySecret, hooks }: Pick<Parts, 'users' | 'hasher' | 'decoySecret' | 'hooks'>) =>
  async (credentials: Credentials, signal?: AbortSignal, chargeUser?: ChargeUser): Promise<CheckedCredentials> => {
    refuseOverlong(credentials)
    const { username, password } = credentials
    // Selected for every name, so that looking up an existing one takes as long.
    const [user, drawn] = await Promise.all([
      users.findByUsername(username),
      users.drawPasswordHashes(lotOf(decoySecret, username))
    ])
    await chargeUser?.(user?.id)
    const digest = digestToVerify(user?.passwordHash, drawn)
    const matches = await hasher.verify(password, digest, signal)
    if (user === undefined || digest !== user.passwordHash || !matches || !(await hooks.mayAuthenticate(user)))
      return { isRight: false, userId: user?.id }
    const outcome = { user_id: user.id }
    return hasher.needsRehash(digest) ? await rehash(user) : { isRight: true, user, outcome }

    // Never refuses a login with the correct password: a digest that cannot be written now is written at the next login.
    async function rehash(user: User): Promise<CheckedCredentials> {
      const accept = (rehash: string, passwordHash = user.passwordHash): CheckedCredentials => ({
        isRight: true,
        user: { ...user, passwordHash },
        outcome: { ...outcome, rehash }
      })
      try {
        const passwordHash = await hasher.hash(password)
        const isReplaced = await users.replacePasswordHash(user.id, user.passwordHash, passwordHash)
        return isReplaced ? accept('done', passwordHash) : accept('the password was changed meanwhile')
      } catch (error) {
        return accept((error as Error).message)
      }
    }
  }

/**
 * The user as stored now, if the credentials that were checked against `checked` still hold; otherwise undefined. Hashing and
 * hooks take up to seconds: in the meantime, the password may have been changed, or the user deactivated or deleted. A changed
 * digest is verified again, because another login may have rehashed the same password. Throws KeyturnError as
 * makeCheckCredentials does.
 */
export const makeRecheckCredentials =
  ({ users, hasher, hooks }: Pick<Parts, 'users' | 'hasher' | 'hooks'>) =>
  async (checked: User, password: string, signal?: AbortSignal): Promise<User | undefined> => {
    for (let known = checked; ; ) {
      const user = await users.findById(known.id)
      if (user === undefined || isUnchanged(known, user)) return user
      const hasSameDigest = user.passwordHash === known.passwordHash
      if (!hasSameDigest && !(await hasher.verify(password, user.passwordHash, signal))) return undefined
      if (!(await hooks.mayAuthenticate(user))) return undefined
      known = user
    }
  }

/** From 0 to below 1, always the same for a name, and unpredictable without the key. */
const lotOf = (secret: Buffer, username: string): number =>
  hmac(secret, normalizeUsername(username)).readUIntBE(0, 6) / 2 ** 48

/** Throws KeyturnError FIELDS_INVALID for a username that is too long. */
export function demandShortUsername(username: string): void {
  const fault = usernameFault(username)
  if (fault !== undefined) throw new KeyturnError('FIELDS_INVALID', { fields: { username: [fault] } })
}

const usernameFault = (username: string): FieldMessage | undefined =>
  [...normalizeUsername(username)].length > maxUsernameLength
    ? `Ensure this field has no more than ${maxUsernameLength} characters.`
    : undefined

function refuseOverlong({ username, password }: Credentials): void {
  const fields: Record<string, readonly FieldMessage[]> = {}
  const fault = usernameFault(username)
  if (fault !== undefined) fields.username = [fault]
  if (Buffer.byteLength(password) > maxPasswordBytes) {
    fields.password = [`Ensure this field has no more than ${maxPasswordBytes} bytes.`]
  }
  if (Object.keys(fields).length > 0) throw new KeyturnError('FIELDS_INVALID', { fields })
}
