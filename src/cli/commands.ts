import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type { Link } from '../audit/chain.ts'
import { clientIdFault } from '../clients/client.ts'
import { parseScope } from '../clients/scope.ts'
import { settings } from '../config/settings.ts'
import { printableText } from '../printable.ts'
import { parseDuration } from '../time.ts'
import { dumpFormats } from '../users/dump/read.ts'
import { exportFormats } from '../users/export.ts'
import { normalizeUsername, usernameFault } from '../users/user.ts'

/** A username as it was typed: a table of Django may hold it in that form. */
function parseUsername(text: string): string {
  const fault = usernameFault(normalizeUsername(text))
  if (fault !== undefined) throw new InvalidArgumentError(fault)
  return text
}

function parseClientId(text: string): string {
  const fault = clientIdFault(text)
  if (fault !== undefined) throw new InvalidArgumentError(fault)
  return text
}

function parseScopes(text: string): readonly string[] {
  const scopes = parseScope(text)
  if (scopes === undefined)
    throw new InvalidArgumentError('A scope is printable ASCII without blanks, quotes and backslashes.')
  return scopes
}

/** Whole seconds, at most 30 days: a secret that is never taken away is no rotation. */
function parseOverlap(text: string): number {
  const overlap = parseDuration(text)
  if (overlap === undefined || overlap > 30 * 86_400)
    throw new InvalidArgumentError('It must be a duration of at most 30d, in seconds or as 30s, 5m, 12h, 1d.')
  return overlap
}

function parseLink(text: string): Link {
  const [, seq, hash = ''] = /^([1-9]\d{0,15}):([\w-]{43})$/.exec(text) ?? []
  if (seq === undefined) throw new InvalidArgumentError('It must be what audit verify printed, a number and a hash.')
  return { seq: Number(seq), hash }
}

function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(text)
}

/** Milliseconds, of a duration as 250ms or 0.5s. */
function parseTarget(text: string): number {
  const [, number, unit] = /^(\d{1,5}(?:\.\d{1,3})?)(ms|s)$/.exec(text) ?? []
  const ms = Number(number) * (unit === 's' ? 1000 : 1)
  if (!(ms >= 10 && ms <= 10_000))
    throw new InvalidArgumentError('It must be a duration from 10ms to 10s, as 250ms or 0.5s.')
  return ms
}

/** KiB. */
function parseMemory(text: string): number {
  const memory = settings.argon2Memory.parse(text)
  if (memory === undefined) throw new InvalidArgumentError(`It must be ${settings.argon2Memory.wants}, in KiB.`)
  return memory
}

const { version } = JSON.parse(readFileSync(new URL(import.meta.resolve('#package')), 'utf8'))

// Each command is loaded when it is run: --help and a wrong usage are answered without a database driver.
const users = () => import('./users.ts')

function makeProgram(): Command {
  const program = new Command('keyturn')
    .description(
      'Access and refresh tokens as a service. It is configured by environment variables: docs/configuration.md.'
    )
    .version(version, '--version', 'print the version')
    // Messages about arguments repeat them.
    .configureOutput({ outputError: (text, write) => write(printableText(text)) })
    .exitOverride()
    .showHelpAfterError('(--help shows how it is used)')
  program
    .command('serve')
    .description('answer requests until SIGTERM or SIGINT')
    .option('--check-config', 'only look at the configuration, as check-config does')
    .action(async ({ checkConfig }) =>
      checkConfig === true ? (await import('./check-config.ts')).checkConfig({}) : (await import('./serve.ts')).serve()
    )
  program
    .command('migrate')
    .description('bring the tables of the database to this version')
    .action(async () => (await import('./migrate.ts')).migrateDatabase())
  program
    .command('check-config')
    .description('look at the configuration, and whether the stores it names answer')
    .option('--print', 'show the configuration in force, secrets masked')
    .action(async (options) => (await import('./check-config.ts')).checkConfig(options))
  program
    .command('doctor')
    .description('look at the database of a Django project, and say what would work; nothing is written')
    .action(async () => (await import('./doctor.ts')).doctor())
  program
    .command('passwords')
    .description('how passwords are hashed')
    .command('calibrate')
    .description('measure argon2id on this machine, and print settings as lines for the environment')
    .addOption(
      new Option('--target <duration>', 'how long a password may take, as 250ms or 0.5s')
        .argParser(parseTarget)
        .default(250, '250ms')
    )
    .option('--memory <KiB>', 'the most memory that one may take', parseMemory, 65_536)
    .option('--json', 'print a JSON object')
    .action(async ({ target: targetMs, ...options }) =>
      (await import('./passwords.ts')).calibratePasswords({ targetMs, ...options })
    )
  addUserCommands(program.command('users').description('who can log in'))
  addKeyCommands(program.command('keys').description('what signs access tokens'))
  addSessionCommands(program.command('sessions').description('where users are logged in'))
  addAuditCommands(program.command('audit').description('who did what'))
  addClientCommands(program.command('clients').description('which services may ask about tokens'))
  return program
}

function addUserCommands(group: Command): void {
  const command = (name: string, description: string) =>
    group
      .command(name)
      .description(description)
      .argument('<username>', 'looked up as typed, and after Unicode NFKC', parseUsername)
  const noPolicy = ['--no-policy', 'take a password that is short, common or close to the name'] as const
  command('create', 'add a user; the password is asked for, or read from standard input')
    .option(...noPolicy)
    .action(async (username, options) => (await users()).createUser(username, options))
  command('set-password', 'set a new password; it is asked for, or read from standard input')
    .option(...noPolicy)
    .action(async (username, options) => (await users()).setPassword(username, options))
  command('activate', 'let the user log in again').action(async (username) => (await users()).activateUser(username))
  command('deactivate', 'let the user neither log in nor refresh, and end all sessions').action(async (username) =>
    (await users()).deactivateUser(username)
  )
  command('delete', 'remove the user, and end all sessions')
    .option('--yes', 'do not ask')
    .action(async (username, options) => (await users()).deleteUser(username, options))
  command('set-claims', 'set the custom claims of the access tokens, a JSON object from standard input').action(
    async (username) => (await users()).setClaims(username)
  )
  group
    .command('list')
    .description('show all users')
    .option('--json', 'a JSON object a line')
    .action(async (options) => (await users()).listUsers(options))
  addTransferCommands(group)
}

function addTransferCommands(group: Command): void {
  group
    .command('import')
    .description('take in the users of a Django dump, of CSV or of an export; run again, it goes on where it stopped')
    .argument('<file>', 'the file; - is standard input')
    .addOption(
      new Option('--format <format>', 'what the file is (default: seen from its beginning)').choices(dumpFormats)
    )
    .option('--model <label>', 'which model of a Django dump the users are', 'auth.user')
    .option('--username-field <name>', 'the field that is the username', 'username')
    .option('--claim <field>', 'make this field a custom claim; may be repeated', collect, [])
    .option('--update', 'overwrite users who are there already')
    .option('--dry-run', 'tell what would happen, and write nothing')
    .option('--report <file>', 'write the refused rows, and who cannot log in, a JSON object a line')
    .action(async (file, options) => (await import('./users-import.ts')).importUsers(file, options))
  group
    .command('export')
    .description('print all users, with their password digests')
    .addOption(new Option('--format <format>', 'a JSON object a line, or CSV').choices(exportFormats).default('ndjson'))
    .action(async (options) => (await import('./users-export.ts')).exportUsers(options))
}

const collect = (value: string, former: readonly string[]): readonly string[] => [...former, value]

function addKeyCommands(group: Command): void {
  const keys = () => import('./keys.ts')
  group
    .command('list')
    .description('show the managed keys and their states')
    .option('--json', 'a JSON object a line')
    .action(async (options) => (await keys()).listKeys(options))
  group
    .command('rotate')
    .description('publish a new key, which signs as soon as every verifier can know it')
    .option('--now', 'let it sign at once: for a key that has leaked')
    .action(async (options) => (await keys()).rotateKeys(options))
  group
    .command('retire')
    .description('remove a next or retired key: what it signed is refused from then on')
    .argument('<kid>', 'the key, as list shows it')
    .action(async (kid) => (await keys()).retireKey(kid))
  group
    .command('export')
    .description('print a public key')
    .argument('<kid>', 'the key, as list shows it')
    .option('--jwk', 'as a JWK instead of PEM')
    .option('--private', 'the private key, in PEM')
    .action(async (kid, options) => (await keys()).exportKey(kid, options))
  group
    .command('import')
    .description('publish a private key from standard input (PEM or JWK) as the next one')
    .option('--algorithm <name>', 'what it signs with', 'ES256')
    .action(async (options) => (await keys()).importKey(options))
  group
    .command('reseal')
    .description('seal all keys with today’s KEY_ENCRYPTION_SECRET')
    .action(async () => (await keys()).resealKeys())
}

function addSessionCommands(group: Command): void {
  const sessions = () => import('./sessions.ts')
  group
    .command('list')
    .description('show the sessions of a user, newest first')
    .argument('<username>', 'whose', parseUsername)
    .option('--json', 'a JSON object a line')
    .action(async (username, options) => (await sessions()).listSessions(username, options))
  group
    .command('revoke')
    .description('end one session of a user, or all')
    .argument('<username>', 'whose', parseUsername)
    .argument('[id]', 'the session, as list shows it; all when absent')
    .action(async (username, id) => (await sessions()).revokeSessions(username, id))
}

function addClientCommands(group: Command): void {
  const clients = () => import('./clients.ts')
  const command = (name: string, description: string) =>
    group.command(name).description(description).argument('<name>', 'the service, and its client_id', parseClientId)
  const secretStdin = ['--secret-stdin', 'take a secret from a prompt or standard input instead of making one'] as const
  command('create', 'add a service; prints its secret, which is not shown again')
    .option('--scopes <words>', 'what tokens of its own may be for, with a blank between', parseScopes)
    .option(...secretStdin)
    .option('--json', 'print a JSON object')
    .action(async (name, options) => (await clients()).createClient(name, options))
  group
    .command('list')
    .description('show all services')
    .option('--json', 'a JSON object a line')
    .action(async (options) => (await clients()).listClients(options))
  command('rotate-secret', 'give a service a new secret; prints it')
    .option('--overlap <duration>', 'how long the old one stays good', parseOverlap, 0)
    .option(...secretStdin)
    .option('--json', 'print a JSON object')
    .action(async (name, options) => (await clients()).rotateClientSecret(name, options))
  command('delete', 'remove a service')
    .option('--yes', 'do not ask')
    .action(async (name, options) => (await clients()).deleteClient(name, options))
}

function addAuditCommands(group: Command): void {
  const audit = () => import('./audit.ts')
  group
    .command('verify')
    .description('see whether the trail is what was written; prints the link of its newest entry')
    .option('--link <seq:hash>', 'what verify printed before: that entry must still be there', parseLink)
    .action(async (options) => (await audit()).verifyTrail(options))
  group
    .command('tail')
    .description('show the newest entries')
    .option('-n, --lines <number>', 'how many', parseCount, 20)
    .option('-f, --follow', 'and those to come')
    .option('--json', 'a JSON object a line')
    .action(async (options) => (await audit()).tailTrail(options))
}

/** Runs the command that the arguments of this process name. Of a wrong usage Commander has told in its own words. */
export async function runCommand(): Promise<void> {
  try {
    await makeProgram().parseAsync()
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    // Help that was asked for is a success.
    process.exitCode = error.exitCode === 0 ? 0 : 2
  }
}
