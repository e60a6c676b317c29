import type { User } from './user.ts'

/** An addition to the list; `user` is undefined if the user was deleted meanwhile, which has ended the sessions. */
export interface PendingLogout {
  readonly id: string
  readonly user: Pick<User, 'id' | 'username'> | undefined
}

/**
 * Users whose sessions an import has yet to end. The import adds them in the transaction that changes them, so whatever
 * interrupts it, the next one finds those that are left. Each method throws KeyturnError STORE_DOWN.
 */
export interface PendingLogouts {
  /** Some of them; none if there are none. */
  list(): Promise<readonly PendingLogout[]>
  remove(ids: readonly string[]): Promise<void>
}

/**
 * Ends the sessions of all users in the list. A user is removed after the sessions have ended; if this is interrupted in between,
 * they end again.
 */
export async function finishLogouts(
  pending: PendingLogouts,
  logOut: (user: Pick<User, 'id' | 'username'>) => Promise<unknown>
): Promise<void> {
  for (;;) {
    const some = await pending.list()
    if (some.length === 0) return
    for (const { user } of some) if (user !== undefined) await logOut(user)
    await pending.remove(some.map(({ id }) => id))
  }
}
