import { OperatorError } from '../errors.ts'

/** A store that cannot be used at a start. The message is one line for people, and names the variable. */
export class StoreError extends OperatorError {
  override readonly name = 'StoreError'
  readonly exitCode = 1

  constructor(line: string, cause?: unknown) {
    super(line, { cause })
  }
}
