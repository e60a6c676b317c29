import type { Connection } from './client.ts'
import { makeNames } from './names.ts'

const { feed: key } = makeNames()

/** The commands that the user of REDIS_URL must be allowed, each with arguments: on the keys of Keyturn where it has any. */
export const wantedCommands: readonly (readonly [command: string, ...args: string[]])[] = [
  ['ping'],
  ['info', 'memory'],
  ['wait', '1', '1000'],
  ['exists', key],
  ['hmget', key, 'field'],
  ['hdel', key, 'field'],
  ['mget', key],
  ['eval', '', '1', key],
  ['evalsha', '', '1', key],
  ['scan', '0'],
  ['dbsize'],
  ['time'],
  ['get', key],
  ['set', key, ''],
  ['hget', key, 'field'],
  ['hset', key, 'field', ''],
  ['hlen', key],
  ['hscan', key, '0'],
  ['rename', key, key],
  ['ttl', key],
  ['expireat', key, '0'],
  ['xadd', key, '*', 'field', ''],
  ['xread', 'STREAMS', key, '0-0'],
  ['xrevrange', key, '+', '-'],
  ['incr', key],
  ['expire', key, '0'],
  ['pttl', key]
]

/**
 * Asks the server which commands it would refuse, without running them. Redis 6.2 does not support this; for it, the result is
 * empty.
 */
const askServer = `local refused = {}
if redis.acl_check_cmd then
  for _, line in ipairs(cjson.decode(ARGV[1])) do
    if not redis.acl_check_cmd(unpack(line)) then refused[#refused + 1] = line[1] end
  end
end
return refused`

/**
 * What `user` (default: `default`) lacks on the server of `redis`, as the command that grants it; undefined if nothing. Rejects with
 * ioredis' ReplyError if the server does not answer.
 */
export async function missingCommands(redis: Connection, user = 'default'): Promise<string | undefined> {
  const refused = await refusedCommands(redis)
  return refused.length === 0
    ? undefined
    : `ACL SETUSER ${user} ~${makeNames().all} ${refused.map((each) => `+${each}`).join(' ')}`
}

async function refusedCommands(redis: Connection): Promise<readonly string[]> {
  try {
    return (await redis.eval(askServer, 1, key, JSON.stringify(wantedCommands))) as string[]
  } catch (error) {
    // Without EVAL the server cannot be asked, and every session needs it.
    if ((error as Error).message.startsWith('NOPERM')) return wantedCommands.map(([command]) => command)
    throw error
  }
}
