/**
 * A bounded map that approximately evicts the least recently used entries. It has two generations: when the younger one is
 * full, the older one is dropped. A hit in the younger one needs no bookkeeping.
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

  /** The number of entries, some of which are counted twice. */
  get size(): number {
    return this.#young.size + this.#old.size
  }
}
