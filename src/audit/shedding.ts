/** How many waiting entries mean that the trail is behind. */
const behind = 100

/** How many entries may wait before failures are left out altogether: the rest of the queue is for acts. */
const crowded = 500

/**
 * Decides whether the entry of a failed request is left out. Failures are written in full while the trail keeps up, once a
 * minute for each address while it is behind, and not at all while it is crowded: a caller that sends more requests than the
 * database can record must not push out the entries of acts. Pure.
 *
 * @param waiting - entries that wait for the store
 * @param isRecorded - whether a failure of this address was written within the last minute
 */
export const isShed = (waiting: number, isRecorded: boolean): boolean =>
  waiting >= crowded || (waiting >= behind && isRecorded)
