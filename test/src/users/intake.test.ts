import t from 'tap'
import { takeIn } from '../../../src/users/intake.ts'
import { importBatch, type UserImport } from '../../../src/users/store.ts'

const options = { model: 'auth.user', usernameField: 'username', claimFields: [], claimsFault: () => undefined }

/** So many rows, after which the file breaks off. */
async function* brokenRows(count: number) {
  for (let id = 1; id <= count; id++) {
    const fields = { username: `user${id}`, password: '!' }
    yield { line: 1, value: { model: 'auth.user', pk: id, fields }, fault: undefined }
  }
  throw new Error('broken off')
}

t.test('takeIn: a batch is completed once its outcomes are known, also the last one of a broken file', async (t) => {
  const seen: string[] = []
  let outcomes = 0
  const store: UserImport = {
    async place(users) {
      seen.push(`${users.length} placed`)
      return users.map((user) => ({ kind: 'updated', user: { ...user, id: user.id ?? '' } }))
    }
  }
  const complete = async () => void seen.push(`completed after ${outcomes}`)
  const read = async () => {
    for await (const { kind } of takeIn(brokenRows(importBatch + 5), store, { ...options, update: true, complete }))
      if (kind === 'updated') outcomes += 1
  }
  await t.rejects(read(), { message: 'broken off' })
  t.same(seen, ['1000 placed', 'completed after 1000', '5 placed', 'completed after 1005'])
})
