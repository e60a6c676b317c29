/**
 * A bounded map that forgets what has not been used for longest, roughly: two generations, the older of which is dropped as a
 * whole when the younger is full. A hit costs no bookkeeping while the entry is in the younger one.
 */
export class Recent<T> {
  readonly #halfSize: number
  #young = new Map<string, T>()
  #old = new Map<string, T>()

  constructor(maxSize: number) {
    this.#halfSize = Math.ceil(maxSize / 2)
  }

  get(key: string): T | undefined {
    const found = this.#young.get(key)
    if (found !== undefined) return found
    const old = this.#old.get(key)
    if (old !== undefined) this.set(key, old)
    return old
  }

  set(key: string, value: T): void {
    if (this.#young.size >= this.#halfSize) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
  }

  /** How many entries there are, some of them twice. */
  get size(): number {
    return this.#young.size + this.#old.size
  }
}
