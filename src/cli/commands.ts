import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type { Link } from '../audit/chain.ts'
import { clientIdFault } from '../clients/client.ts'
import { parseScope } from '../clients/scope.ts'
import { settings } from '../config/settings.ts'
import {
  type OneTimePurpose,
  oneTimePurposes,
  parseOneTimeLifetime,
  parseOneTimePurpose
} from '../one-time-tokens/token.ts'
import { printableText } from '../printable.ts'
import { parseDuration } from '../time.ts'
import { dumpFormats } from '../users/dump/read.ts'
import { exportFormats } from '../users/export.ts'
import { normalizeUsername, usernameFault } from '../users/user.ts'
import { version } from '../version.ts'

/**
 * The name of a user that exists, as typed. A Django table may hold names that Keyturn refuses for new users, with control characters
 * for example, and their users can log in.
 */
function parseUsername(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must not be blank.')
  return text
}

/** The name of a new user, as typed. */
function parseNewUsername(text: string): string {
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
    throw new InvalidArgumentError('A scope is printable ASCII without spaces, quotes and backslashes.')
  return scopes
}

/** Whole seconds, at most 30 days: a rotation has to end the old secret. */
function parseOverlap(text: string): number {
  const overlap = parseDuration(text)
  if (overlap === undefined || overlap > 30 * 86_400)
    throw new InvalidArgumentError('It must be a duration of at most 30d: seconds, or a form such as 30s, 5m, 12h, 1d.')
  return overlap
}

function parsePurpose(text: string): OneTimePurpose {
  const purpose = parseOneTimePurpose(text)
  if (purpose === undefined) throw new InvalidArgumentError(`It must be one of ${oneTimePurposes.join(', ')}.`)
  return purpose
}

/** Whole seconds. */
function parseTokenLifetime(text: string): number {
  const lifetime = parseOneTimeLifetime(text)
  if (lifetime === undefined) throw new InvalidArgumentError('It must be a duration of at most 1d, such as 15m or 12h.')
  return lifetime
}

function parseLink(text: string): Link {
  const [, seq, hash = ''] = /^([1-9]\d{0,15}):([\w-]{43})$/.exec(text) ?? []
  if (seq === undefined)
    throw new InvalidArgumentError('It must be a link that audit verify printed: a number, a colon and a hash.')
  return { seq: Number(seq), hash }
}

function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(text)
}

/** Milliseconds, from a duration such as 250ms or 0.5s. */
function parseTarget(text: string): number {
  const [, number, unit] = /^(\d{1,5}(?:\.\d{1,3})?)(ms|s)$/.exec(text) ?? []
  const ms = Number(number) * (unit === 's' ? 1000 : 1)
  if (!(ms >= 10 && ms <= 10_000))
    throw new InvalidArgumentError('It must be a duration from 10ms to 10s, such as 250ms or 0.5s.')
  return ms
}

/** KiB. */
function parseMemory(text: string): number {
  const memory = settings.argon2Memory.parse(text)
  if (memory === undefined) throw new InvalidArgumentError(`It must be ${settings.argon2Memory.wants}, in KiB.`)
  return memory
}

const users = () => import('./users.ts')

/** All commands. Each is loaded when it runs, so that --help and usage errors need no database driver. */
export function makeProgram(): Command {
  const program = new Command('keyturn')
    .description(
      'A token service that issues, refreshes, verifies and revokes tokens. It is configured by environment variables: docs/configuration.md.'
    )
    .version(version, '--version', 'Print the version')
    .helpOption('-h, --help', 'Show help')
    .helpCommand('help [command]', 'Show help for a command')
    // Messages about arguments quote them.
    .configureOutput({ outputError: (text, write) => write(printableText(text)) })
    .exitOverride()
    .showHelpAfterError('(see --help for usage)')
  program
    .command('serve')
    .description('Run the service until SIGTERM or SIGINT')
    .option('--check-config', 'Only check the configuration, as check-config does')
    .action(async ({ checkConfig }) =>
      checkConfig === true ? (await import('./check-config.ts')).checkConfig({}) : (await import('./serve.ts')).serve()
    )
  program
    .command('migrate')
    .description('Create or update the database tables for this version')
    .action(async () => (await import('./migrate.ts')).migrateDatabase())
  program
    .command('check-config')
    .description('Check the configuration and the connections to the stores')
    .option('--print', 'Print the effective configuration with secrets masked')
    .action(async (options) => (await import('./check-config.ts')).checkConfig(options))
  program
    .command('doctor')
    .description('Check whether Keyturn can use the database of a Django project; writes nothing')
    .action(async () => (await import('./doctor.ts')).doctor())
  program
    .command('passwords')
    .description('Tune password hashing')
    .command('calibrate')
    .description('Measure argon2id on this machine and print matching settings')
    .addOption(
      new Option('--target <duration>', 'Time to spend on one hash, such as 250ms or 0.5s')
        .argParser(parseTarget)
        .default(250, '250ms')
    )
    .option('--memory <KiB>', 'Maximum memory for one hash', parseMemory, 65_536)
    .option('--json', 'Print a JSON object')
    .action(async ({ target: targetMs, ...options }) =>
      (await import('./passwords.ts')).calibratePasswords({ targetMs, ...options })
    )
  addUserCommands(program.command('users').description('Manage users'))
  addKeyCommands(program.command('keys').description('Manage signing keys'))
  addSessionCommands(program.command('sessions').description('Manage sessions'))
  addAuditCommands(program.command('audit').description('Read and verify the audit trail'))
  addClientCommands(program.command('clients').description('Manage OAuth clients'))
  return program
}

function addUserCommands(group: Command): void {
  const command = (name: string, description: string, parse = parseUsername) =>
    group
      .command(name)
      .description(description)
      .argument('<username>', 'The user; matched as typed and in Unicode NFKC form', parse)
  const noPolicy = ['--no-policy', 'Accept a password that is short, common or similar to the username'] as const
  command('create', 'Create a user; reads the password from a prompt or standard input', parseNewUsername)
    .option(...noPolicy)
    .action(async (username, options) => (await users()).createUser(username, options))
  command('set-password', 'Set a password and end all sessions; reads it from a prompt or standard input')
    .option(...noPolicy)
    .action(async (username, options) => (await users()).setPassword(username, options))
  command('activate', 'Allow the user to log in again').action(async (username) =>
    (await users()).activateUser(username)
  )
  command('deactivate', 'Stop the user from logging in and end all sessions').action(async (username) =>
    (await users()).deactivateUser(username)
  )
  command('delete', 'Delete the user and end all sessions')
    .option('--yes', 'Do not ask for confirmation')
    .action(async (username, options) => (await users()).deleteUser(username, options))
  command('one-time-token', 'Issue a one-time token and print it once')
    .requiredOption('--purpose <purpose>', `What it is for: ${oneTimePurposes.join(', ')}`, parsePurpose)
    .option(
      '--lifetime <duration>',
      'How long it is valid (default: 1h for password_reset, otherwise 1d)',
      parseTokenLifetime
    )
    .option('--json', 'Print a JSON object')
    .action(async (username, options) => (await users()).issueOneTimeToken(username, options))
  command('set-claims', "Set the user's custom claims; reads a JSON object from standard input").action(
    async (username) => (await users()).setClaims(username)
  )
  group
    .command('list')
    .description('List all users')
    .option('--json', 'Print one JSON object per line')
    .action(async (options) => (await users()).listUsers(options))
  addTransferCommands(group)
}

function addTransferCommands(group: Command): void {
  group
    .command('import')
    .description('Import users from a Django dump, CSV or an export; can be run again to resume')
    .argument('<file>', 'The file to read; - for standard input')
    .addOption(new Option('--format <format>', 'Format of the file (default: detected)').choices(dumpFormats))
    .option('--model <label>', 'Model of the users in a Django dump', 'auth.user')
    .option('--username-field <name>', 'Field that holds the username', 'username')
    .option('--claim <field>', 'Store this field as a custom claim; repeatable', collect, [])
    .option('--update', 'Update users that already exist')
    .option('--dry-run', 'Report what would change without writing anything')
    .option('--report <file>', 'Write refused rows and users who cannot log in to a file, one JSON object per line')
    .action(async (file, options) => (await import('./users-import.ts')).importUsers(file, options))
  group
    .command('export')
    .description('Print all users with their password digests')
    .addOption(
      new Option('--format <format>', 'One JSON object per line, or CSV').choices(exportFormats).default('ndjson')
    )
    .action(async (options) => (await import('./users-export.ts')).exportUsers(options))
}

const collect = (value: string, former: readonly string[]): readonly string[] => [...former, value]

function addKeyCommands(group: Command): void {
  const keys = () => import('./keys.ts')
  group
    .command('list')
    .description('List the managed keys and their states')
    .option('--json', 'Print one JSON object per line')
    .action(async (options) => (await keys()).listKeys(options))
  group
    .command('rotate')
    .description('Publish a new key; it signs once every verifier has had time to fetch it')
    .option('--now', 'Sign with it immediately, when the active key has leaked')
    .action(async (options) => (await keys()).rotateKeys(options))
  group
    .command('retire')
    .description('Remove a next or retired key; its tokens are refused from then on')
    .argument('<kid>', 'The kid of the key, as shown by keys list')
    .action(async (kid) => (await keys()).retireKey(kid))
  group
    .command('export')
    .description('Print a public key')
    .argument('<kid>', 'The kid of the key, as shown by keys list')
    .option('--jwk', 'Print a JWK instead of PEM')
    .option('--private', 'Print the private key in PEM')
    .action(async (kid, options) => (await keys()).exportKey(kid, options))
  group
    .command('import')
    .description('Publish a private key as the next key; reads PEM or a JWK from standard input')
    .option('--algorithm <name>', 'Signature algorithm of the key', 'ES256')
    .action(async (options) => (await keys()).importKey(options))
  group
    .command('reseal')
    .description('Encrypt all keys with the current KEY_ENCRYPTION_SECRET')
    .action(async () => (await keys()).resealKeys())
}

function addSessionCommands(group: Command): void {
  const sessions = () => import('./sessions.ts')
  group
    .command('list')
    .description("List a user's sessions, newest first")
    .argument('<username>', 'The user', parseUsername)
    .option('--json', 'Print one JSON object per line')
    .action(async (username, options) => (await sessions()).listSessions(username, options))
  group
    .command('revoke')
    .description("End one or all of a user's sessions")
    .argument('<username>', 'The user', parseUsername)
    .argument('[id]', 'The session, as shown by sessions list; all if omitted')
    .action(async (username, id) => (await sessions()).revokeSessions(username, id))
}

function addClientCommands(group: Command): void {
  const clients = () => import('./clients.ts')
  const command = (name: string, description: string) =>
    group.command(name).description(description).argument('<name>', 'The client_id', parseClientId)
  const secretStdin = [
    '--secret-stdin',
    'Read the secret from a prompt or standard input instead of generating one'
  ] as const
  command('create', 'Create a client and print its secret once')
    .option('--scopes <scopes>', 'Scopes that its own tokens may have, separated by spaces', parseScopes)
    .option(...secretStdin)
    .option('--json', 'Print a JSON object')
    .action(async (name, options) => (await clients()).createClient(name, options))
  group
    .command('list')
    .description('List all clients')
    .option('--json', 'Print one JSON object per line')
    .action(async (options) => (await clients()).listClients(options))
  command('rotate-secret', 'Replace the secret of a client and print the new one once')
    .option('--overlap <duration>', 'How long the old secret stays valid', parseOverlap, 0)
    .option(...secretStdin)
    .option('--json', 'Print a JSON object')
    .action(async (name, options) => (await clients()).rotateClientSecret(name, options))
  command('delete', 'Delete a client')
    .option('--yes', 'Do not ask for confirmation')
    .action(async (name, options) => (await clients()).deleteClient(name, options))
}

function addAuditCommands(group: Command): void {
  const audit = () => import('./audit.ts')
  group
    .command('verify')
    .description('Verify that the trail is unchanged; prints the link of its newest entry')
    .option('--link <seq:hash>', 'A link printed earlier; its entry must still be unchanged', parseLink)
    .option('--checkpoint <file>', 'A checkpoint printed earlier; its entry must still be unchanged')
    .option('--from <file>', 'Verify JSON lines that were copied from the trail, instead of the table')
    .action(async (options) => (await audit()).verifyTrail(options))
  group
    .command('checkpoint')
    .description('Print a signed checkpoint of the newest entry, to be kept elsewhere')
    .action(async () => (await audit()).printCheckpoint())
  group
    .command('tail')
    .description('Print the newest entries')
    .option('-n, --lines <number>', 'Number of entries', parseCount, 20)
    .option('-f, --follow', 'Keep printing new entries')
    .option('--json', 'Print one JSON object per line')
    .action(async (options) => (await audit()).tailTrail(options))
}

/** Runs the command in the arguments of this process. Commander has already printed usage errors. */
export async function runCommand(): Promise<void> {
  try {
    await makeProgram().parseAsync()
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    // Requested help is a success.
    process.exitCode = error.exitCode === 0 ? 0 : 2
  }
}
