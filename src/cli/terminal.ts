import { type ErrorCode, KeyturnError, OperatorError } from '../errors.ts'
import { printableLine, printableText } from '../printable.ts'

/** A valid command that was refused. The message is a sentence that gives the reason or the remedy. */
export class Refusal extends OperatorError {
  override readonly name = 'Refusal'
  readonly exitCode = 1
}

/** Runs a flow; the errors that `messages` names become a Refusal with the message. */
export async function refusing<T>(
  messages: Readonly<Partial<Record<ErrorCode, string>>>,
  flow: () => Promise<T>
): Promise<T> {
  try {
    return await flow()
  } catch (error) {
    const message = error instanceof KeyturnError ? messages[error.code] : undefined
    throw message === undefined ? error : new Refusal(message)
  }
}

/** Data: a line on standard output. */
export const print = (line: string): void => void process.stdout.write(`${printableLine(line)}\n`)

/** Data that is shown only once: `remedy`, a sentence, is the message if it cannot be written. */
export function printOnce(line: string, remedy: string): void {
  process.stdout.write(`${printableLine(line)}\n`, (error) => {
    if (error) lost = remedy
  })
}

let lost: string | undefined

/** The remedy if data that is shown only once could not be written; known before standard output emits the error. */
export const lostOutput = (): string | undefined => lost

/** Data of several lines. */
export const printLines = (text: string): void => void process.stdout.write(`${printableText(text)}\n`)

/** A message on standard error, so that the data can be piped. */
export const say = (text: string): void => void process.stderr.write(`${printableText(text)}\n`)

/**
 * Reads a secret without echo: twice on a terminal, otherwise all of standard input without its last newline.
 * Throws Refusal when the two differ, at Ctrl-C, and when the input is not UTF-8.
 */
export async function readSecret(prompt: string): Promise<string> {
  if (!process.stdin.isTTY) return await readInput()
  const secret = await ask(`${prompt}:`, { isHidden: true })
  if ((await ask(`${prompt}, again:`, { isHidden: true })) !== secret)
    throw new Refusal('The two entries differ; nothing was changed.')
  return secret
}

/** Asks for confirmation. Throws Refusal if it is denied, or without a terminal, where `option` confirms. */
export async function confirm(question: string, option: string): Promise<void> {
  if (!process.stdin.isTTY) throw new Refusal(`${question} Standard input is not a terminal; confirm with ${option}.`)
  const answer = await ask(`${question} [y/N]`, { isHidden: false })
  if (!/^y(es)?$/i.test(answer)) throw new Refusal('Nothing was changed.')
}

/** The whole of standard input without its last newline. Throws Refusal when it is not UTF-8. */
export async function readInput(): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)).replace(/\r?\n$/, '')
  } catch {
    // Lenient decoding would turn every invalid byte into the same character, which no user could type at a login.
    throw new Refusal('Standard input is not UTF-8; nothing was changed.')
  }
}

async function ask(prompt: string, { isHidden }: { readonly isHidden: boolean }): Promise<string> {
  const { read } = await import('read')
  // At Ctrl-D `read` never settles, and the process ends when its event loop is empty.
  const cancel = () => {
    say('\nCancelled; nothing was changed.')
    process.exitCode = 1
  }
  process.once('beforeExit', cancel)
  try {
    // Without `terminal` the terminal itself would echo the secret when standard error is a file.
    return await read({ prompt: printableText(prompt), silent: isHidden, terminal: true, output: process.stderr })
  } catch {
    throw new Refusal('Cancelled; nothing was changed.')
  } finally {
    process.removeListener('beforeExit', cancel)
    if (isHidden) say('') // the newline that was typed is hidden too
  }
}
