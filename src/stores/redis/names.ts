/**
 * The names of everything that Keyturn stores in Redis. One user's keys share a hash tag, so a script accesses one cluster
 * slot. The braces also distinguish them from all other keys.
 */
export const makeNames = (prefix = 'keyturn:') => {
  /** Braces end a hash tag, so those in a user's id are percent-encoded. */
  const ofUser = (userId: string): string => `${prefix}{${userId.replace(/[{}%]/g, encodeURIComponent)}}`
  return {
    /** The pattern of all names. */
    all: `${prefix}*`,
    /** The user's sessions. */
    sessions: ofUser,
    /** Whether this is the name of a user's sessions. */
    isSessions: (key: string): boolean => key.startsWith(`${prefix}{`) && key.endsWith('}'),
    /** Sessions of the user that were ended together, and are not all in the revocation feed yet. */
    ending: (userId: string): string => `${ofUser(userId)}:ending`,
    /** Exists once a refresh token of another issuer has been adopted as this session. */
    adopted: (userId: string, sid: string): string => `${ofUser(userId)}:adopted:${sid}`,
    /** When all sessions of the user were ended, for tokens that are adopted later. */
    ended: (userId: string): string => `${ofUser(userId)}:ended`,
    /** A budget of guesses. */
    guesses: (key: string): string => `${prefix}guesses:${key}`,
    /** Exists while a source of correct passwords is trusted. */
    knownSource: (key: string): string => `${prefix}known:${key}`,
    /** The revocation feed: one stream for all. */
    feed: `${prefix}revocations`,
    /** The epoch of the feed, in the same slot. */
    epoch: `${prefix}epoch{${prefix}revocations}`,
    /** A counter of a rate limit, such as `obtain:192.0.2.1`. */
    counter: (name: string): string => `${prefix}count:${name}`
  }
}

export type Names = ReturnType<typeof makeNames>
