/**
 * Rows per statement. SQLite inserts 93,000 rows per second with 20, 63,000 with 50 and 20,000 with 500; PostgreSQL 15,000 with
 * 25, 17,000 with 50 and 11,000 with 500.
 */
export const groupSize = 50

/**
 * `items` in groups of `groupSize`, the last one padded with its last item: statements that use them tolerate duplicates, so
 * there are only a few different ones, which the embedded engine prepares once.
 */
export function* groups<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += groupSize) {
    const group = items.slice(start, start + groupSize)
    yield [...group, ...Array<T>(groupSize - group.length).fill(group.at(-1) as T)]
  }
}

/** '$1, $2, $3' for three values; numbers begin after `from`. */
export const places = (count: number, from = 0): string =>
  Array.from({ length: count }, (_, place) => `$${from + place + 1}`).join(', ')

/** '($1, $2), ($3, $4), …' for a group of rows with so many columns. */
export const rowPlaces = (columns: number): string =>
  Array.from({ length: groupSize }, (_, row) => `(${places(columns, row * columns)})`).join(', ')
