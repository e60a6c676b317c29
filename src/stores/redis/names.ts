/** The names of everything Keyturn keeps in Redis. One user's keys share a hash tag, so a script touches one cluster slot. */
export const makeNames = (prefix = 'keyturn:') => ({
  /** Braces end a hash tag, so those in a user's id are written otherwise. */
  sessions: (userId: string): string => `${prefix}{${userId.replace(/[{}%]/g, encodeURIComponent)}}`,
  /** The revocation feed: one stream for all. */
  feed: `${prefix}revocations`
})

export type Names = ReturnType<typeof makeNames>
