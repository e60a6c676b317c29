import { OperatorError } from '../errors.ts'

/** A store cannot be used at the start. The message is one line that names the setting. */
export class StoreError extends OperatorError {
  override readonly name = 'StoreError'
  readonly exitCode = 1

  constructor(line: string, cause?: unknown) {
    super(line, { cause })
  }
}
