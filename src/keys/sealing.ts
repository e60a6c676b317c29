import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

const deriveKey = (secret: string, salt: Buffer): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, salt, 'keyturn sealed key', 32))

/**
 * Encrypts `plain` with AES-256-GCM: base64url of salt (16 bytes), nonce (12), tag (16) and ciphertext. `name` is authenticated,
 * so the result cannot be decrypted in another row. The secret has full entropy (at least 32 characters), so HKDF is enough.
 */
export function seal(plain: string, name: string, secret: string): string {
  const [salt, nonce] = [randomBytes(16), randomBytes(12)]
  const cipher = createCipheriv('aes-256-gcm', deriveKey(secret, salt), nonce).setAAD(Buffer.from(name))
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()])
  return Buffer.concat([salt, nonce, cipher.getAuthTag(), sealed]).toString('base64url')
}

/** Reverses `seal`; undefined if the secret, the name or the text differs. */
export function unseal(sealed: string, name: string, secret: string): string | undefined {
  const bytes = Buffer.from(sealed, 'base64url')
  const [salt, nonce, tag, rest] = [
    bytes.subarray(0, 16),
    bytes.subarray(16, 28),
    bytes.subarray(28, 44),
    bytes.subarray(44)
  ]
  try {
    const decipher = createDecipheriv('aes-256-gcm', deriveKey(secret, salt), nonce, { authTagLength: 16 })
    decipher.setAAD(Buffer.from(name)).setAuthTag(tag)
    return Buffer.concat([decipher.update(rest), decipher.final()]).toString()
  } catch {
    return undefined
  }
}
