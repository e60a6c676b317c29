import type { Connection } from './client.ts'
import { makeNames } from './names.ts'

const { feed, epoch, counter } = makeNames()

/** Writes a key and expires it, which deletes it at once. Only commands that every deployment allows (rights.ts). */
const tryToWrite = "redis.call('SET', KEYS[1], '') redis.call('EXPIRE', KEYS[1], 0)"

/** Advice by the code of the error with which Redis refuses a write. */
const remedies: Readonly<Record<string, string>> = {
  OOM: 'Raise maxmemory.',
  NOREPLICAS: 'Connect the replicas that min-replicas-to-write demands.',
  READONLY: 'REDIS_URL has to name the master.',
  MISCONF: 'Redis cannot save its data: see its log.'
}

/**
 * Why Keyturn could not work with this server, although it responds, as a sentence; undefined if it can. Leaves no key behind.
 * Rejects with ioredis' ReplyError if the server refuses for another reason.
 */
export async function stateFault(redis: Connection): Promise<string | undefined> {
  return (await writeFault(redis)) ?? (await feedFault(redis)) ?? (await epochFault(redis))
}

async function writeFault(redis: Connection): Promise<string | undefined> {
  try {
    await redis.eval(tryToWrite, 1, counter('check-config'))
    return undefined
  } catch (error) {
    const [reason, code = ''] = /\b(OOM|NOREPLICAS|READONLY|MISCONF) [^.]*/.exec((error as Error).message) ?? []
    if (reason === undefined) throw error
    return `It refuses writes (${reason}). ${remedies[code]}`
  }
}

async function feedFault(redis: Connection): Promise<string | undefined> {
  const entries = await unlessWrongType(redis.xread('COUNT', 1, 'STREAMS', feed, '0-0'))
  return entries === undefined
    ? `The key ${feed} is not a stream: another program has written it. Delete it.`
    : undefined
}

async function epochFault(redis: Connection): Promise<string | undefined> {
  const value = await unlessWrongType(redis.get(epoch))
  return value === null || /^\d+( [01] \S+)?$/.test(value ?? '')
    ? undefined
    : `The key ${epoch} is not an epoch: another program has written it. Delete it.`
}

/** The result of a command, which is null if there is no such key; undefined if the key has another type. */
async function unlessWrongType<Value>(command: Promise<Value | null>): Promise<Value | null | undefined> {
  try {
    return await command
  } catch (error) {
    if ((error as Error).message.startsWith('WRONGTYPE')) return undefined
    throw error
  }
}
