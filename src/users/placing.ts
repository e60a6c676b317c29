import type { GivenUser } from './import.ts'
import type { User } from './user.ts'

/** What to do with one user of a dump. */
export type Placing =
  | { readonly kind: 'created' | 'updated'; readonly user: GivenUser & Pick<User, 'id'> }
  | { readonly kind: 'skipped' }
  | { readonly kind: 'refused'; readonly reason: string }

/** The user who already has an id or a username. */
export type Holder = Pick<User, 'id' | 'username'>

export interface PlacingOptions {
  /** Whether an existing user is updated rather than skipped. */
  readonly update: boolean
  /** Generates ids for users without one. */
  readonly newId: () => string
}

/**
 * Decides for each of `users` in turn, so that later ones see the results of earlier ones. `holders` are all users with one of
 * their ids or usernames. Pure except for `newId`; never throws.
 *
 * The id identifies a user, whatever the username, since `user_id` claims contain the id. A username that belongs to another id
 * is refused, since skipping it would silently drop the user. Without an id, the username identifies the user.
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
