/*
 * A refused login takes as long for any username: measured by the work that is done, since times are not to be
 * relied on where tests run. `npm run timing` measures the times.
 */
import t, { type Test } from 'tap'
import type { PasswordHasher } from '../../src/passwords/hasher.ts'
import { aPassword, openApp } from '../support/app.ts'
import { aModule } from '../support/modules.ts'
import { compareRanks, median } from './mann-whitney.ts'

t.test('the rank test', async (t) => {
  // What SciPy 1.x gives, mannwhitneyu(a, b, method='asymptotic'); the first two samples are its own and R's example.
  const cases = [
    [[19, 22, 16, 29, 24], [20, 11, 17, 12], 17 / 20, 0.111347],
    [[0.8, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46], [1.15, 0.88, 0.9, 0.74, 1.21], 35 / 50, 0.244624],
    [[1, 2, 2, 3, 3, 3, 4], [2, 3, 4, 4, 5, 5, 6], 8.5 / 49, 0.04305],
    [[1, 1], [1, 1], 0.5, 1]
  ] as const
  for (const [a, b, larger, p] of cases) {
    t.equal(compareRanks(a, b).larger, larger)
    t.equal(compareRanks(a, b).p.toFixed(5), p.toFixed(5))
    t.equal(compareRanks(b, a).p.toFixed(5), p.toFixed(5))
  }
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
})

/** Lists the calls of parts of an application: `users.findByUsername`. */
function makeWatch(done: string[]) {
  /** Notes the calls of a part, and passes them on. */
  return <Part extends object>(name: string, part: Part, note = (_args: readonly unknown[]): string => ''): void => {
    for (const [method, call] of Object.entries(part)) {
      if (typeof call !== 'function') continue
      Object.assign(part, {
        [method]: (...args: readonly unknown[]) => {
          done.push(`${name}.${method}${note(args)}`)
          return call(...args)
        }
      })
    }
  }
}

/** A service with a user of every kind, and what records the calls of its parts in `done`. */
async function openWatched(t: Test, env: Record<string, string> = {}) {
  const { app, addUser, post } = await openApp(t, env)
  const { id } = await addUser('inactive', aPassword)
  await app.stores.users.setActive(id, false)
  await app.stores.users.create('unusable', '!no password')
  await addUser('known', aPassword)
  const done: string[] = []
  return { app, post, done, watch: makeWatch(done) }
}

t.test('a refused login does the same work for any username', async (t) => {
  const { app, post, done, watch } = await openWatched(t)
  watch('users', app.stores.users)
  watch('guesses', app.stores.guesses)
  watch('sessions', app.stores.sessions)
  // Of a digest only what it costs: form, costs and lengths.
  watch(
    'hasher',
    app.hasher as PasswordHasher,
    ([, digest]) => ` ${String(digest).replace(/[A-Za-z0-9+/]{22,}/g, ({ length }) => `${length}`)}`
  )

  const work = async (username: string): Promise<string[]> => {
    done.length = 0
    t.equal((await post('/api/token/', { username, password: 'wrong' })).statusCode, 401)
    return done.toSorted()
  }
  const ofKnown = await work('known')
  t.comment(ofKnown.join(', '))
  t.equal(ofKnown.length, 6)
  t.match(ofKnown.join(), /hasher\.verify \$argon2id\$v=19\$m=8192,t=1,p=1\$22\$43/)
  for (const username of ['unknown', 'inactive', 'unusable', 'known']) t.same(await work(username), ofKnown, username)
})

t.test(
  'a request for a password reset does the same work for any username, and looks up no user before the answer',
  async (t) => {
    const hook = aModule(t, 'export const onPasswordResetRequested = () => {}')
    const { app, post, done, watch } = await openWatched(t, { HOOKS_MODULE: hook })
    watch('users', app.stores.users)
    watch('guesses', app.stores.guesses)
    watch('oneTimeTokens', app.stores.oneTimeTokens)
    watch('audit', app.stores.audit)

    const work = async (username: string) => {
      done.length = 0
      const send = await app.flows.passwordForgotten?.accept({
        username,
        ip: '127.0.0.1',
        userAgent: '',
        requestId: ''
      })
      const before = [...done]
      send?.()
      await app.flows.passwordForgotten?.settled()
      return { before, all: [...done] }
    }
    await work('known') // The first entry of a process reads the newest one.
    const ofKnown = await work('known')
    t.same(ofKnown.before, ['guesses.isKnown', 'guesses.take'])
    t.same(ofKnown.all.slice(2), ['users.findByUsername', 'guesses.take', 'oneTimeTokens.put', 'audit.add'])
    for (const username of ['unknown', 'inactive', 'unusable', 'known']) t.same(await work(username), ofKnown, username)
    t.equal((await post('/api/password/forgot/', { username: 'known' })).statusCode, 202)
  }
)
