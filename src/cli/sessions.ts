import { loadConfig } from '../config/load.ts'
import { makeManageSessions } from '../flows/management/sessions.ts'
import { type Session, showSession } from '../sessions/session.ts'
import { defaultPage, type SessionStore } from '../sessions/store.ts'
import { showTime } from '../time.ts'
import { openRecordAct, operator } from './record.ts'
import { print, refusing, say } from './terminal.ts'
import { withUser } from './users.ts'

/** `keyturn sessions list NAME`: one line per session, newest first, read page by page. */
export async function listSessions(username: string, { json }: { readonly json?: boolean }): Promise<void> {
  const toLine = json === true ? toJsonLine : toTableLine
  await withUser(loadConfig(process.env), username, async ({ sessions }, user) => {
    if (json !== true) print(tableLine('id', 'created', 'last used', 'expires', 'from'))
    for await (const page of sessionPages(sessions, user.id)) {
      for (const session of page) print(toLine(session))
    }
  })
}

async function* sessionPages(sessions: SessionStore, userId: string): AsyncGenerator<readonly Session[]> {
  let page = await sessions.list(userId)
  while (page.length > 0) {
    yield page
    if (page.length < defaultPage) return
    page = await sessions.list(userId, { after: page.at(-1) })
  }
}

/** `keyturn sessions revoke NAME [ID]`: ends one session, or all. Every worker refuses their access tokens from then on. */
export async function revokeSessions(username: string, sid: string | undefined): Promise<void> {
  const config = loadConfig(process.env)
  const count = await withUser(config, username, async ({ database, users, sessions }, { id: userId }) => {
    const manage = makeManageSessions({ users, sessions, record: await openRecordAct(config, database) })
    if (sid === undefined) return (await manage.endAll(operator, userId)).length
    const missing = `${JSON.stringify(username)} has no session ${JSON.stringify(sid)}. See sessions list.`
    await refusing({ NOT_FOUND: missing }, () => manage.end(operator, userId, sid))
    return 1
  })
  say(`Ended ${count === 1 ? 'one session' : `${count} sessions`} of ${JSON.stringify(username)}.`)
}

const toJsonLine = (session: Session): string => JSON.stringify(showSession(session))

const toTableLine = ({ sid, createdAt, lastUsedAt, expiresAt, device }: Session): string =>
  tableLine(sid, showTime(createdAt), showTime(lastUsedAt), showTime(expiresAt), `${device.ip} ${device.userAgent}`)

const tableLine = (id: string, created: string, lastUsed: string, expires: string, from: string): string =>
  `${id.padEnd(32)}  ${created.padEnd(20)}  ${lastUsed.padEnd(20)}  ${expires.padEnd(20)}  ${from}`
