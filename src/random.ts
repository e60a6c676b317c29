import { createHmac, randomBytes, randomFillSync, timingSafeEqual } from 'node:crypto'

const idBytes = 16

/** Random bytes for the next ids. A draw of any size takes 3 µs, as long as an HMAC. */
const drawn = Buffer.alloc(256 * idBytes)
let used = drawn.length

/** 128 random bits as 32 hex digits: a `jti` or a `sid`, in the form of Simple JWT's uuid4().hex. */
export function randomId(): string {
  if (used === drawn.length) {
    randomFillSync(drawn)
    used = 0
  }
  used += idBytes
  return drawn.toString('hex', used - idBytes, used)
}

/** 256 random bits as 43 characters of base64url: a secret. */
export const randomSecret = (): string => randomBytes(32).toString('base64url')

/** Whether two texts are equal, in a time that does not depend on where they differ. */
export function equalInConstantTime(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

/** HMAC-SHA-256 of `text` under `key`. */
export const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/** An id that looks random, is always the same for `text` and `key`, and cannot be predicted without the key. */
export const derivedId = (key: Buffer, text: string): string =>
  createHmac('sha256', key)
    .update(text)
    .digest('hex')
    .slice(0, 2 * idBytes)
