interface Waiting<Key, Answer> {
  readonly key: Key
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

/**
 * Asks for all that is wanted in one turn of the event loop at its end, with one call: a busy worker reads the requests of many
 * connections in a turn, and a server answers a question about all of them in little more time than about one. `ask` gives an
 * answer for each key, in their order. Each caller has its own; when `ask` fails, all of the turn fail with it.
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
      // Its own phase of the event loop, which comes after the one that reads from all connections.
      if (waiting.push({ key, resolve, reject }) === 1) setImmediate(askForAll)
    })
}
