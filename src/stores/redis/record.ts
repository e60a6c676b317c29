import type { SessionDevice } from '../../hooks.ts'
import type { Session } from '../../sessions/session.ts'

/*
 * A user's sessions are one Redis hash, `keyturn:{user}`, with two fields per session, and `oldest` (lua/limited.lua):
 *   sid (16 bytes)          -> twelve 32-bit numbers, big-endian, in the order below
 *   sid and the letter c    -> the device: address, a space, user agent; 60 bytes at most
 * Redis stores a small hash of values up to 64 bytes in one listpack: a user with one session takes some 300 bytes, including
 * key and expiry. A key per session with an index took 440.
 */
/** In place of the generation of a session that has ended but is not yet in the revocation feed. */
const endedMark = 2 ** 32 - 1
/** With a record of 48 bytes, a session of this size just fits an allocation of 160 bytes; the next one has 192. */
const longestDevice = 60

/** What the scripts in lua/ write with struct.pack('>I4I4I4I4I4I4I4I4I4I4I4I4', ...); undefined for a session that has ended. */
export function decodeRecord(userId: string, sid: string, record: Buffer, device: Buffer | null): Session | undefined {
  const read = (index: number): number => record.readUInt32BE(4 * index)
  const generation = read(0)
  if (generation === endedMark) return undefined
  return {
    userId,
    sid,
    generation,
    rotatedAt: read(1),
    createdAt: read(2),
    absoluteExp: read(3),
    expiresAt: read(4),
    anchorGeneration: read(5),
    anchorAt: read(6),
    lastUsedAt: read(7),
    supersededAt: [read(8), read(9), read(10)],
    lateGeneration: record.length < 48 ? 0 : read(11),
    device: decodeDevice(device)
  }
}

/** When the session of a record began, whole seconds since 1970. */
export const createdAtOf = (record: Buffer): number => record.readUInt32BE(8)

/** When the session of a record expires, whether it has been ended before or not. */
export const expiryOf = (record: Buffer): number => record.readUInt32BE(16)

/** Address and user agent in 60 bytes: a longer user agent is cut at a whole character. */
export function encodeDevice({ ip, userAgent }: SessionDevice): Buffer {
  const bytes = Buffer.from(`${ip} ${userAgent}`)
  let end = Math.min(bytes.length, longestDevice)
  while (end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}

/** A device as encodeDevice wrote it. */
export function decodeDevice(bytes: Buffer | null): SessionDevice {
  const text = bytes?.toString() ?? ''
  const space = text.indexOf(' ')
  return { ip: text.slice(0, Math.max(space, 0)), userAgent: text.slice(space + 1) }
}
