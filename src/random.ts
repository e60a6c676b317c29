import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** 128 random bits as 32 hex digits: a `jti` or a `sid`, in the form of Simple JWT's uuid4().hex. */
export const randomId = (): string => randomBytes(16).toString('hex')

/** 256 random bits as 43 characters of base64url: a secret. */
export const randomSecret = (): string => randomBytes(32).toString('base64url')

/** Whether two texts are equal, in a time that does not tell where they differ. */
export function equalInConstantTime(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

/** HMAC-SHA-256 of `text` under `key`. */
export const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
