/* An operator's mistakes: one line each, exit status 78, never a stack or a secret. BAD_STARTS=300 starts as many. */
import { execFileSync, spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { Command } from 'commander'
import t, { type Test } from 'tap'
import { makeProgram, runCommand } from '../../src/cli/commands.ts'
import { explain } from '../../src/errors.ts'
import { ConfigError, loadConfig } from '../../src/config/load.ts'
import { checkSigningKey } from '../../src/keys/import.ts'
import { type BadConfiguration, badConfigurations, secret } from '../support/bad-configurations.ts'
import { aDataDir, main, runKeyturn } from '../support/keyturn.ts'

/** Expects `text` to have one line for each variable that is wrong, and nothing else. */
function checkFaults(t: Test, text: string, { env, variables }: BadConfiguration): void {
  const lines = text.split('\n')
  const named = lines.map((line) => /^([A-Z\d_]+?)(_FILE)?: [^\p{C}]+\.$/u.exec(line)?.[1])
  const isRight = JSON.stringify(named.toSorted()) === JSON.stringify(variables.toSorted())
  if (!isRight || text.includes(secret)) t.fail(JSON.stringify({ env, variables, text }))
}

t.test('a bad configuration is one line for each fault, which names the variable and no secret', async (t) => {
  for (const bad of badConfigurations(300, aDataDir(t))) {
    const error = t.throws(() => loadConfig(bad.env, checkSigningKey)) as Error
    if (error instanceof ConfigError) checkFaults(t, error.message, bad)
    else t.fail(`${error.stack}`)
  }
})

/** Values for what commands require, by the name of the argument or option. */
const required: Readonly<Record<string, string>> = {
  username: 'vitor',
  name: 'shop',
  kid: 'kid',
  file: '/dev/null',
  purpose: 'password_reset'
}

/** Commands as they are typed, with everything that each requires. */
function commandLines(command: Command, path = ''): readonly string[] {
  if (command.commands.length > 0)
    return command.commands.flatMap((each) => commandLines(each, `${path} ${each.name()}`.trim()))
  const valueFor = (name: string): string => required[name] ?? `no-value-for-${name}`
  const names = command.registeredArguments.filter((argument) => argument.required)
  const options = command.options.flatMap((option) => {
    // Without it, a command asks for confirmation.
    if (option.long === '--yes') return ['--yes']
    return option.mandatory ? [`${option.long} ${valueFor(option.attributeName())}`] : []
  })
  return [[path, ...names.map((argument) => valueFor(argument.name())), ...options].join(' ')]
}

/** `serve` has a test of its own below, and `passwords calibrate` reads no configuration. */
const others = ['serve', 'passwords calibrate']
const commands = commandLines(makeProgram()).filter((line) => !others.includes(line))

/**
 * What a command comes to, in this process: the text and the exit status that `main.ts` would give. It must not read its standard
 * input, for which a person might have to type a password or paste a key in vain.
 */
async function outcomeOf(t: Test, command: string, env: Readonly<Record<string, string>>) {
  const former = [process.argv, process.env] as const
  const errors = t.capture(process.stderr, 'write', () => true)
  const read = () => t.fail(`${command} reads its standard input`)
  const input = t.intercept(process, 'stdin', { value: Readable.from([]).once('end', read), configurable: true })
  process.argv = ['node', 'keyturn', ...command.split(' ')]
  process.env = { ...env, PATH: process.env.PATH }
  try {
    await runCommand()
    const exitCode = process.exitCode ?? 0
    process.exitCode = undefined
    return {
      exitCode,
      message: errors()
        .map(({ args }) => String(args[0]))
        .join('')
    }
  } catch (error) {
    const { exitCode, message } = explain(error) ?? { exitCode: undefined, message: String((error as Error).stack) }
    return { exitCode, message }
  } finally {
    ;[process.argv, process.env] = former
    errors.restore()
    input.restore()
  }
}

t.test('every command answers a bad configuration with 78', async (t) => {
  // Commands that look at no key leave it to those that do.
  const configurations = badConfigurations(commands.length * 5, aDataDir(t), 7).filter(({ variables }) =>
    variables.every((variable) => !variable.startsWith('SIGNING_KEY'))
  )
  t.ok(configurations.length > commands.length * 3)
  for (const [index, bad] of configurations.entries()) {
    const command = commands[index % commands.length] ?? ''
    const { exitCode, message } = await outcomeOf(t, command, bad.env)
    t.equal(exitCode, 78, command)
    checkFaults(t, message, bad)
  }
})

t.test('wrong usage exits with 2, and never with a stack', async (t) => {
  for (const command of [
    ...['', 'server', 'users', 'users lst', 'users create', 'users create a b', 'users list --xml', 'keys export'],
    ...[
      'keys retire',
      'audit tail -n x',
      'audit verify --link 1',
      'clients create a"b',
      'clients rotate-secret s --overlap 99d'
    ],
    ...[
      'passwords calibrate --target 1h',
      'passwords calibrate --memory 1',
      'users import',
      'users import - --format xml'
    ]
  ]) {
    const { exitCode, message } = await outcomeOf(t, command, {})
    t.equal(exitCode, 2, command)
    t.notMatch(message, /^\s+at /m)
  }
})

t.test('a pipe without a writer does not keep the service from exiting with 78', async (t) => {
  const pipe = join(aDataDir(t), 'pipe')
  execFileSync('mkfifo', [pipe])
  for (const variable of ['ENV_FILE', 'SIGNING_KEY_FILE', 'PIDFILE']) {
    const { code, stdout, stderr } = await runKeyturn(['serve'], { DATA_DIR: aDataDir(t), [variable]: pipe })
    t.same({ code, stdout }, { code: 78, stdout: '' }, variable)
    t.match(stderr, new RegExp(`^${variable}: got "${pipe}", expected a .*\\.\n$`))
  }
})

t.test('a command reads ENV_FILE and a secret from pipes of the shell', async (t) => {
  const env = { PATH: process.env.PATH ?? '', DATA_DIR: aDataDir(t), NODE: process.execPath, MAIN: main }
  const run = (script: string) => spawnSync('bash', ['--norc', '-c', script], { env, encoding: 'utf8' })
  const checked = run(
    'ENV_FILE=<(echo PROT=81) METRICS_TOKEN_FILE=<(echo "a long secret of 32 characters") "$NODE" "$MAIN" check-config --print'
  )
  t.equal(checked.status, 0)
  t.match(checked.stderr, /Warning: ENV_FILE: "PROT" is not a setting and is ignored \(did you mean PORT\?\)/)
  t.match(checked.stdout, /^METRICS_TOKEN=\(set\)$/m)
  t.match(run('ENV_FILE=<(echo PORT=x) "$NODE" "$MAIN" check-config'), { status: 78, stderr: /^PORT: got "x"/ })
})

const starts = Number(process.env.BAD_STARTS ?? 4)

t.test(`a start with a bad configuration exits with 78 (${starts} starts)`, { timeout: 1_200_000 }, async (t) => {
  const waiting = badConfigurations(starts, aDataDir(t), 78).filter(({ env }) =>
    // The environment of a process holds no NUL.
    Object.values(env).every((value) => !value.includes('\u0000'))
  )
  const startOne = async (): Promise<void> => {
    for (let bad = waiting.pop(); bad !== undefined; bad = waiting.pop()) {
      const { code, stdout, stderr } = await runKeyturn(['serve'], { PORT: '0', ...bad.env })
      t.same({ code, stdout }, { code: 78, stdout: '' })
      checkFaults(t, stderr.trimEnd(), bad)
    }
  }
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, startOne))
})
