/** Hashes and checks passwords. Costs tens of milliseconds of CPU by design, so calls wait in a bounded queue. */
export interface PasswordHasher {
  /** The password as an argon2id digest (PHC string). Throws KeyturnError BUSY when the queue is full. */
  hash(password: string): Promise<string>
  /**
   * Whether `password` is the one behind `digest`. Without a digest (no such user) it does the same work and answers false,
   * so that the time tells nothing. Throws KeyturnError BUSY when the queue is full.
   */
  verify(password: string, digest: string | undefined): Promise<boolean>
  /** Whether `digest` was made with other parameters than today's. */
  needsRehash(digest: string): boolean
}
