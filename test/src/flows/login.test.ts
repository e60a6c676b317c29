import t from 'tap'
import { KeyturnError } from '../../../src/errors.ts'
import { openApp } from '../../support/app.ts'

t.test('a login for which there is no room costs the stores nothing', async (t) => {
  const { app, log, addUser, post } = await openApp(t)
  await addUser('vitor', 'correct horse')
  const asked: unknown[] = []
  const { query } = app.stores.database
  t.intercept(app.stores.database, 'query', {
    value: (...args: Parameters<typeof query>) => {
      asked.push(args[0])
      return query(...args)
    }
  })
  let isFull = true
  Object.assign(app.hasher, {
    refuseIfFull() {
      if (isFull) throw new KeyturnError('BUSY', { retryAfter: 1 })
    }
  })
  const logIn = () => post('/api/token/', { username: 'vitor', password: 'correct horse' })
  const answer = await logIn()
  t.equal(answer.statusCode, 503)
  t.equal(answer.headers['retry-after'], '1')
  t.same(asked, [])
  const told = log.find(({ code }) => code === 'BUSY')
  t.ok(told)
  t.notOk(told?.err, 'nor the log a stack')
  isFull = false
  t.equal((await logIn()).statusCode, 200)
  t.not(asked.length, 0)
})
