import { userInfo } from 'node:os'
import t from 'tap'
import { operator, userName } from '../../../src/cli/record.ts'

t.test('an act names the user who ran the command', async (t) => {
  t.equal(userName(), userInfo().username)
  t.ok(operator.actor.startsWith(`${userInfo().username}@`))
})

t.test('a user id without a name is an operator too', async (t) => {
  const noEntry = () => {
    throw new Error('uv_os_get_passwd returned ENOENT')
  }
  t.equal(userName(noEntry), `uid ${process.getuid?.()}`)
})
