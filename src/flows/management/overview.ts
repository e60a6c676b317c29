import type { ActivityRecord } from '../../activity.ts'
import { KeyturnError } from '../../errors.ts'
import type { StoredKey } from '../../keys/store.ts'
import type { SessionStore } from '../../sessions/store.ts'
import type { Clock } from '../../time.ts'

export interface OverviewParts {
  readonly sessions: Pick<SessionStore, 'estimateCount'>
  readonly activity: Pick<ActivityRecord, 'read'>
  readonly keys: { list(): Promise<readonly StoredKey[]> }
  readonly clock: Clock
}

/**
 * The activity of the service, for operators. Values from a store that is down are undefined, since an overview is needed most
 * during an outage. The work does not depend on the number of users and sessions.
 */
export const makeOverview =
  ({ sessions, activity, keys, clock }: OverviewParts) =>
  async () => {
    const [activityOfAll, sessionCount, listedKeys] = await Promise.all([
      activity.read(),
      unlessDown(sessions.estimateCount()),
      unlessDown(keys.list())
    ])
    return { activity: activityOfAll, sessionCount, keys: listedKeys, now: clock() }
  }

async function unlessDown<Value>(answer: Promise<Value>): Promise<Value | undefined> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof KeyturnError && error.code === 'STORE_DOWN') return undefined
    throw error
  }
}
