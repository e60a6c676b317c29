interface Waiting<Key, Answer> {
  readonly key: Key
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

/**
 * Combines all lookups of one turn of the event loop into one call at its end: a busy worker reads the requests of many connections
 * in a turn, and a server answers one query for all of them in little more time than one for a single key. `ask` returns a result
 * for each key, in order. If `ask` fails, all callers of the turn fail.
 */
export function makeBatch<Key, Answer>(
  ask: (keys: readonly Key[]) => Promise<readonly Answer[]>
): (key: Key) => Promise<Answer> {
  let waiting: Waiting<Key, Answer>[] = []
  const askForAll = async (): Promise<void> => {
    const batch = waiting
    waiting = []
    try {
      const answers = await ask(batch.map(({ key }) => key))
      for (const [index, { resolve }] of batch.entries()) resolve(answers[index] as Answer)
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }
  return (key) =>
    new Promise((resolve, reject) => {
      // The check phase of the event loop comes after the one that reads from all connections.
      if (waiting.push({ key, resolve, reject }) === 1) setImmediate(askForAll)
    })
}
