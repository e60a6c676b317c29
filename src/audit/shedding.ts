/** How many waiting entries mean that the trail is behind. */
const behind = 100

/** How many entries may wait before failures are omitted altogether: the rest of the queue is for acts. */
const crowded = 500

/**
 * Decides whether the entry of a failed request is omitted. All failures are written while the trail keeps up, one per
 * minute and address while it is behind, and none while the queue is nearly full: a caller that sends more requests than the
 * database can record must not displace the entries of acts. Pure.
 *
 * @param waiting - entries that wait for the store
 * @param isRecorded - whether a failure of this address was written within the last minute
 */
export const isShed = (waiting: number, isRecorded: boolean): boolean =>
  waiting >= crowded || (waiting >= behind && isRecorded)
