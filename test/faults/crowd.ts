/* Many clients with a session each, who refresh at the same time, lose answers in an outage and come back after it. */
import { Agent, request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'

export interface Member {
  /** The newest refresh token that the client was given. */
  refresh: string
  /** Tokens that it has presented before, oldest first. */
  readonly superseded: string[]
}

export interface Reply {
  /** 0 when the connection broke. */
  readonly status: number
  readonly retryAfter: number
  readonly refresh: string
}

/** What became of a crowd's requests: how many of each status, 0 for a broken connection. */
export type Tally = Record<number, number>

/** How much of `Retry-After` a client of a test waits: a tenth, so that a test takes seconds. */
const patience = 100

export interface Crowd {
  readonly members: readonly Member[]
  /** All present their token once, at the same time. */
  refreshOnce(url: string): Promise<Tally>
  /** All present their token until there is an answer other than 503: those that were refused, and the tally of all answers. */
  refreshUntilServed(url: string): Promise<{ refused: number; tally: Tally }>
  close(): void
}

/** Logs in as many clients as asked for, all as one user. */
export async function gather(url: string, credentials: object, size: number): Promise<Crowd> {
  const agent = new Agent({ keepAlive: true, maxSockets: 200 })
  const logIn = async (): Promise<Member> => ({
    refresh: (await insist(() => send(`${url}/api/token/`, credentials, agent))).refresh,
    superseded: []
  })
  const members: Member[] = []
  while (members.length < size)
    members.push(...(await Promise.all(Array.from({ length: Math.min(20, size - members.length) }, logIn))))
  const present = async (base: string, member: Member): Promise<Reply> => {
    const token = member.refresh
    const reply = await send(`${base}/api/token/refresh/`, { refresh: token }, agent)
    if (reply.status !== 200) return reply
    member.superseded.push(token)
    member.refresh = reply.refresh
    return reply
  }
  return {
    members,
    async refreshOnce(base) {
      const replies = await Promise.all(members.map((member) => present(base, member)))
      return tallyOf(replies)
    },
    async refreshUntilServed(base) {
      const replies: Reply[] = []
      const serve = async (member: Member): Promise<Reply> =>
        await insist(async () => {
          const reply = await present(base, member)
          replies.push(reply)
          return reply
        })
      const last = await Promise.all(members.map(serve))
      return { refused: last.filter(({ status }) => status !== 200).length, tally: tallyOf(replies) }
    },
    close: () => agent.destroy()
  }
}

const tallyOf = (replies: readonly Reply[]): Tally => {
  const tally: Tally = {}
  for (const { status } of replies) tally[status] = (tally[status] ?? 0) + 1
  return tally
}

/** Waits as it is asked to, and sends again, until the answer is not that of an outage. */
export async function insist(ask: () => Promise<Reply>): Promise<Reply> {
  for (;;) {
    const reply = await ask()
    if (reply.status !== 503 && reply.status !== 0) return reply
    await delay(reply.retryAfter * patience)
  }
}

/** One request, on a new connection or a kept one. */
export function send(url: string, body: object, agent?: Agent): Promise<Reply> {
  const text = JSON.stringify(body)
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  return new Promise((resolve) => {
    const broken = (): void => resolve({ status: 0, retryAfter: 1, refresh: '' })
    const sent = request(url, { method: 'POST', headers, ...(agent === undefined ? {} : { agent }) })
    sent.on('error', broken)
    sent.on('response', (answer) => {
      let received = ''
      answer.setEncoding('utf8').on('data', (piece) => {
        received += piece
      })
      answer.on('error', broken)
      answer.on('end', () => {
        const { refresh = '' } = answer.statusCode === 200 ? JSON.parse(received) : {}
        resolve({ status: answer.statusCode ?? 0, retryAfter: Number(answer.headers['retry-after'] ?? 0), refresh })
      })
    })
    sent.end(text)
  })
}

/**
 * Lets time pass for Redis, whose own clock cannot be set: every time in every session record becomes so much older. The numbers
 * of a record are those of src/stores/redis/record.ts.
 */
export async function age(admin: Redis, seconds: number): Promise<void> {
  const times = [1, 2, 3, 4, 6, 7, 8, 9, 10]
  for (const key of await admin.keys('keyturn:{*}')) {
    const names = await admin.hkeysBuffer(key)
    const records = await admin.hmgetBuffer(key, ...names)
    for (const [index, name] of names.entries()) {
      const record = records[index]
      if (name.length !== 16 || record == null) continue
      for (const time of times) record.writeUInt32BE(Math.max(0, record.readUInt32BE(4 * time) - seconds), 4 * time)
      await admin.hset(key, name, record)
    }
  }
}

/** All session records as they are, as a replica has them that is a little behind. */
export async function saveAll(admin: Redis): Promise<ReadonlyMap<string, Buffer>> {
  const saved = new Map<string, Buffer>()
  for (const key of await admin.keys('keyturn:{*}')) {
    const dump = await admin.dumpBuffer(key)
    if (dump !== null) saved.set(key, dump)
  }
  return saved
}

/** What was written since is lost, as in a failover to that replica. */
export async function restoreAll(admin: Redis, saved: ReadonlyMap<string, Buffer>): Promise<void> {
  for (const [key, dump] of saved) {
    const lifetime = await admin.pttl(key)
    await admin.restore(key, Math.max(lifetime, 0), dump, 'REPLACE')
  }
}
