/**
 * The names of everything Keyturn keeps in Redis. One user's keys share a hash tag, so a script touches one cluster
 * slot. The braces tell them from all others, too.
 */
export const makeNames = (prefix = 'keyturn:') => {
  /** Braces end a hash tag, so those in a user's id are written otherwise. */
  const ofUser = (userId: string): string => `${prefix}{${userId.replace(/[{}%]/g, encodeURIComponent)}}`
  return {
    /** The user's sessions. */
    sessions: ofUser,
    /** Sessions of the user that have ended all at once, and are not all in the revocation feed. */
    ending: (userId: string): string => `${ofUser(userId)}:ending`,
    /** There once a refresh token of another issuer has been adopted as this session. */
    adopted: (userId: string, sid: string): string => `${ofUser(userId)}:adopted:${sid}`,
    /** When all sessions of the user were ended, for tokens that are adopted later. */
    ended: (userId: string): string => `${ofUser(userId)}:ended`,
    /** A budget of guesses. */
    guesses: (key: string): string => `${prefix}guesses:${key}`,
    /** There while a source of right passwords is known. */
    knownSource: (key: string): string => `${prefix}known:${key}`,
    /** The revocation feed: one stream for all. */
    feed: `${prefix}revocations`,
    /** When it began, in the same slot. */
    epoch: `${prefix}epoch{${prefix}revocations}`,
    /** How often something was asked for, as `obtain:192.0.2.1`: a rate limit. */
    counter: (name: string): string => `${prefix}count:${name}`
  }
}

export type Names = ReturnType<typeof makeNames>
