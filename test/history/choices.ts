import { createHash } from 'node:crypto'

/** A seeded source of choices. One that is forked by a name makes the same choices whatever the others are asked. */
export interface Choices {
  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number
  /** True so often: 0 is never, 1 is always. */
  chance(probability: number): boolean
  /** One of them, undefined when there is none. */
  pick<Item>(items: readonly Item[]): Item | undefined
  /** One of them, as often as its weight says. */
  weigh<Item>(table: readonly (readonly [weight: number, item: Item])[]): Item
  fork(name: string): Choices
}

export function makeChoices(seed: string): Choices {
  const next = mulberry32(createHash('sha256').update(seed).digest().readUInt32BE())
  const between = (least: number, most: number) => least + Math.floor(next() * (most - least + 1))
  return {
    between,
    chance: (probability) => next() < probability,
    pick: (items) => items[between(0, items.length - 1)],
    weigh(table) {
      let rest = next() * table.reduce((sum, [weight]) => sum + weight, 0)
      const row = table.find(([weight]) => {
        rest -= weight
        return rest < 0
      })
      return (row ?? table[0]!)[1]
    },
    fork: (name) => makeChoices(`${seed}/${name}`)
  }
}

/** Numbers from 0 to 1, 2^32 different ones: enough to choose by. Source: Tommy Ettinger's mulberry32, public domain. */
function mulberry32(state: number): () => number {
  let a = state
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
