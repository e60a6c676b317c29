/** A store that cannot be used at a start. The message is one line for people, and names the variable. */
export class StoreError extends Error {
  override readonly name = 'StoreError'

  constructor(line: string, cause?: unknown) {
    super(line, { cause })
  }
}
