import { type Client, hashSecret, maxClients, secretFault } from '../clients/client.ts'
import type { ClientStore } from '../clients/store.ts'
import { loadConfig } from '../config/load.ts'
import { randomSecret } from '../random.ts'
import { makeClientStore } from '../stores/sql/clients.ts'
import { showTime, systemClock } from '../time.ts'
import { withDatabase } from './database.ts'
import { openRecord, type Record } from './record.ts'
import { confirm, print, Refusal, readSecret, say } from './terminal.ts'

export interface SecretOptions {
  /** Whether a secret is given, instead of a new one being made. */
  readonly secretStdin?: boolean
  readonly json?: boolean
}

/** `keyturn clients create NAME`: prints the secret that was made, once. */
export async function createClient(
  id: string,
  { scopes = [], ...options }: SecretOptions & { readonly scopes?: readonly string[] }
): Promise<void> {
  const secret = await chooseSecret(id, options)
  await withClients(async (clients, record) => {
    if ((await clients.list()).length >= maxClients)
      throw new Refusal(`There are ${maxClients} clients already, and each process holds them all: delete one first.`)
    if ((await clients.create(id, hashSecret({ id, secret }), scopes)) === undefined)
      throw new Refusal(`The client ${JSON.stringify(id)} exists already: clients rotate-secret gives it a new secret.`)
    await record('client_create', { object: id })
  })
  say(`Created the client ${JSON.stringify(id)}; every process knows it within a second or two.`)
  hand({ client_id: id, client_secret: secret, scope: scopes.join(' ') }, options)
}

/** `keyturn clients rotate-secret NAME`: prints the new secret, once. The old one stays good for `overlap` seconds. */
export async function rotateClientSecret(
  id: string,
  { overlap, ...options }: SecretOptions & { readonly overlap: number }
): Promise<void> {
  const secret = await chooseSecret(id, options)
  await withClients(async (clients, record) => {
    if (!(await clients.rotateSecret(id, hashSecret({ id, secret }), overlap))) throw isUnknown(id)
    await record('client_secret', { object: id })
  })
  const until = showTime(systemClock() + overlap)
  const fate =
    overlap === 0
      ? 'the old one is refused by every process within a second or two'
      : `the old one is good until ${until}`
  say(`Gave the client ${JSON.stringify(id)} a new secret; ${fate}.`)
  hand({ client_id: id, client_secret: secret }, options)
}

/** `keyturn clients delete NAME`: asks first, unless --yes. */
export async function deleteClient(id: string, { yes }: { readonly yes?: boolean }): Promise<void> {
  if (yes !== true) await confirm(`Delete the client ${JSON.stringify(id)}?`, '--yes')
  await withClients(async (clients, record) => {
    if (!(await clients.delete(id))) throw isUnknown(id)
    await record('client_delete', { object: id })
  })
  say(`Deleted the client ${JSON.stringify(id)}; every process refuses it within a second or two.`)
}

/** `keyturn clients list`. */
export async function listClients({ json }: { readonly json?: boolean }): Promise<void> {
  const clients = await withDatabase(loadConfig(process.env), (database) =>
    makeClientStore(database, systemClock).list()
  )
  if (json !== true) print(tableLine('client', 'created', 'secret of', 'scopes'))
  for (const client of clients) print(json === true ? toJsonLine(client) : toTableLine(client))
}

/** Reads or makes a secret before the database is opened, so that no connection waits for someone who types. */
async function chooseSecret(id: string, { secretStdin }: SecretOptions): Promise<string> {
  if (secretStdin !== true) return randomSecret()
  const secret = await readSecret(`Secret for ${id}`)
  const fault = secretFault(secret)
  if (fault !== undefined) throw new Refusal(fault)
  return secret
}

/** Shows what was made. A secret that was given is known, and not shown again. */
function hand(
  made: { readonly client_id: string; readonly client_secret: string; readonly scope?: string },
  { secretStdin, json }: SecretOptions
): void {
  const { client_secret, ...rest } = made
  if (json === true) print(JSON.stringify(secretStdin === true ? rest : made))
  else if (secretStdin !== true) {
    say('Its secret, which is not shown again:')
    print(client_secret)
  }
}

const isUnknown = (id: string): Refusal =>
  new Refusal(`There is no client ${JSON.stringify(id)}: clients list shows all, clients create makes one.`)

const toJsonLine = ({ id, scopes, createdAt, rotatedAt }: Client): string =>
  JSON.stringify({
    client_id: id,
    scope: scopes.join(' '),
    created_at: showTime(createdAt),
    secret_created_at: showTime(rotatedAt)
  })

const toTableLine = ({ id, scopes, createdAt, rotatedAt }: Client): string =>
  tableLine(id, showTime(createdAt), showTime(rotatedAt), scopes.join(' '))

const tableLine = (id: string, created: string, rotated: string, scopes: string): string =>
  `${id.padEnd(24)}  ${created.padEnd(20)}  ${rotated.padEnd(20)}  ${scopes}`.trimEnd()

/** Opens the clients for something to be done with them. */
async function withClients(work: (clients: ClientStore, record: Record) => Promise<void>): Promise<void> {
  const config = loadConfig(process.env)
  await withDatabase(config, async (database) =>
    work(makeClientStore(database, systemClock), await openRecord(config, database))
  )
}
