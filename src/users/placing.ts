import type { GivenUser } from './import.ts'
import type { User } from './user.ts'

/** What is to be done with one user of a dump. */
export type Placing =
  | {
      readonly kind: 'created' | 'updated'
      readonly user: GivenUser & Pick<User, 'id'>
      /** Whether an update has replaced the digest by another one. */
      readonly hasNewDigest?: boolean
    }
  | { readonly kind: 'skipped' }
  | { readonly kind: 'refused'; readonly reason: string }

/** Who has an id and a username already. */
export type Holder = Pick<User, 'id' | 'username'>

export interface PlacingOptions {
  /** Whether a user who exists is overwritten with what the dump says, rather than skipped. */
  readonly update: boolean
  /** Ids for those whose dump gives them none. */
  readonly newId: () => string
}

/**
 * Decides where each of `users` goes, one after the other, so that a later one meets what an earlier one left. `holders` are
 * all that have one of their ids or usernames. Pure but for `newId`; never throws.
 *
 * Whoever has the id is the user, whatever the name: `user_id` claims name the id. A name that somebody else has is refused,
 * since to skip it would leave the dump's user out without a word. Without an id the name tells who it is.
 */
export function placeUsers(
  users: readonly GivenUser[],
  holders: readonly Holder[],
  { update, newId }: PlacingOptions
): readonly Placing[] {
  const nameOf = new Map(holders.map(({ id, username }) => [id, username]))
  const idOf = new Map(holders.map(({ id, username }) => [username, id]))
  return users.map((user): Placing => {
    const { username } = user
    const id = user.id ?? idOf.get(username) ?? newId()
    const former = nameOf.get(id)
    if (former !== undefined && !update) return { kind: 'skipped' }
    const holder = idOf.get(username)
    if (holder !== undefined && holder !== id)
      return { kind: 'refused', reason: `the username is taken by the user whose id is ${holder}` }
    if (former !== undefined) idOf.delete(former)
    nameOf.set(id, username)
    idOf.set(username, id)
    return { kind: former === undefined ? 'created' : 'updated', user: { ...user, id } }
  })
}
