import { type Client, secretFault, showClient } from '../clients/client.ts'
import { loadConfig } from '../config/load.ts'
import { makeManageClients } from '../flows/management/clients.ts'
import { randomSecret } from '../random.ts'
import { makeClientStore } from '../stores/sql/clients.ts'
import { showTime, systemClock } from '../time.ts'
import { withDatabase } from './database.ts'
import { openRecordAct, operator } from './record.ts'
import { confirm, print, printOnce, Refusal, readSecret, refusing, say } from './terminal.ts'

export interface SecretOptions {
  /** Whether the secret is read rather than generated. */
  readonly secretStdin?: boolean
  readonly json?: boolean
}

/** `keyturn clients create NAME`: prints the generated secret once. */
export async function createClient(
  id: string,
  { scopes = [], ...options }: SecretOptions & { readonly scopes?: readonly string[] }
): Promise<void> {
  const secret = await chooseSecret(id, options)
  const taken = `The client ${JSON.stringify(id)} already exists. Use clients rotate-secret to replace its secret.`
  await withClients((manage) => refusing({ NAME_TAKEN: taken }, () => manage.create(operator, id, secret, scopes)))
  say(`Created the client ${JSON.stringify(id)}; all processes accept it within 2 seconds.`)
  printCredentials({ client_id: id, client_secret: secret, scope: scopes.join(' ') }, options)
}

/** `keyturn clients rotate-secret NAME`: prints the new secret once. The old one stays valid for `overlap` seconds. */
export async function rotateClientSecret(
  id: string,
  { overlap, ...options }: SecretOptions & { readonly overlap: number }
): Promise<void> {
  const secret = await chooseSecret(id, options)
  await withClients((manage) => refusing(missing(id), () => manage.rotateSecret(operator, id, secret, overlap)))
  const until = showTime(systemClock() + overlap)
  const fate =
    overlap === 0 ? 'all processes refuse the old one within 2 seconds' : `the old one is valid until ${until}`
  say(`Replaced the secret of the client ${JSON.stringify(id)}; ${fate}.`)
  printCredentials({ client_id: id, client_secret: secret }, options)
}

/** `keyturn clients delete NAME`: asks first, unless --yes. */
export async function deleteClient(id: string, { yes }: { readonly yes?: boolean }): Promise<void> {
  if (yes !== true) await confirm(`Delete the client ${JSON.stringify(id)}?`, '--yes')
  await withClients((manage) => refusing(missing(id), () => manage.delete(operator, id)))
  say(`Deleted the client ${JSON.stringify(id)}; all processes refuse it within 2 seconds.`)
}

/** `keyturn clients list`. */
export async function listClients({ json }: { readonly json?: boolean }): Promise<void> {
  const clients = await withDatabase(loadConfig(process.env), (database) =>
    makeClientStore(database, systemClock).list()
  )
  if (json !== true) print(tableLine('client', 'created', 'secret of', 'scopes'))
  for (const client of clients) print(json === true ? toJsonLine(client) : toTableLine(client))
}

/** Reads or generates a secret before the database is opened, so that no connection waits for a user who types. */
async function chooseSecret(id: string, { secretStdin }: SecretOptions): Promise<string> {
  if (secretStdin !== true) return randomSecret()
  const secret = await readSecret(`Secret for ${id}`)
  const fault = secretFault(secret)
  if (fault !== undefined) throw new Refusal(fault)
  return secret
}

/** Prints the result, without a secret that was read. */
function printCredentials(
  made: { readonly client_id: string; readonly client_secret: string; readonly scope?: string },
  { secretStdin, json }: SecretOptions
): void {
  const { client_secret, ...rest } = made
  if (secretStdin === true) {
    if (json === true) print(JSON.stringify(rest))
    return
  }
  if (json !== true) say('Its secret, which is not shown again:')
  const remedy = `the secret of the client ${JSON.stringify(made.client_id)} is lost. Use clients rotate-secret to replace it.`
  printOnce(json === true ? JSON.stringify(made) : client_secret, remedy)
}

const missing = (id: string) => ({ NOT_FOUND: `The client ${JSON.stringify(id)} does not exist. See clients list.` })

const toJsonLine = (client: Client): string => JSON.stringify(showClient(client))

const toTableLine = ({ id, scopes, createdAt, rotatedAt }: Client): string =>
  tableLine(id, showTime(createdAt), showTime(rotatedAt), scopes.join(' '))

const tableLine = (id: string, created: string, rotated: string, scopes: string): string =>
  `${id.padEnd(24)}  ${created.padEnd(20)}  ${rotated.padEnd(20)}  ${scopes}`.trimEnd()

/** Opens the clients for `work`. */
async function withClients(work: (manage: ReturnType<typeof makeManageClients>) => Promise<void>): Promise<void> {
  const config = loadConfig(process.env)
  await withDatabase(config, async (database) => {
    const clients = makeClientStore(database, systemClock)
    await work(makeManageClients({ clients, record: await openRecordAct(config, database) }))
  })
}
