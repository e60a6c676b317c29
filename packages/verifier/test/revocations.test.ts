import t from 'tap'
import { Revocations } from '../src/revocations.ts'
import { aClock } from './support.ts'

function aList(options = {}) {
  const clock = aClock()
  const list = new Revocations({ staleness: 30, ...options }, clock)
  const in_ = (seconds: number): number => clock.now() + seconds
  const confirm = (more = {}): void => list.confirm({ lostBefore: null, window: 360, age: 0, ...more })
  return { clock, list, in_, confirm }
}

t.test('revocations: a sid and a jti of the same text are two', async (t) => {
  const { list, in_ } = aList()
  list.add([
    { sid: 'a', until: in_(360) },
    { jti: 'b', until: in_(360) }
  ])
  t.ok(list.has({ sid: 'a', jti: 'x' }))
  t.ok(list.has({ sid: 'x', jti: 'b' }))
  t.notOk(list.has({ sid: 'b', jti: 'a' }))
  t.notOk(list.has({ jti: 'x' }), 'a token without a session')
})

t.test('revocations: nothing is known before the first confirmation, and after a silence', async (t) => {
  const { list, clock, confirm } = aList()
  t.notOk(list.isFresh())
  confirm()
  t.ok(list.isFresh())
  clock.pass(30)
  t.ok(list.isFresh())
  clock.pass(1)
  t.notOk(list.isFresh())
  confirm({ age: 25 })
  clock.pass(6)
  t.notOk(list.isFresh(), 'the age of what the service knows counts')
})

t.test('revocations: a wall clock that is set does not change whether the list is fresh', async (t) => {
  const { list, clock, confirm } = aList()
  confirm()
  clock.set(-3600)
  t.ok(list.isFresh())
  clock.set(7200)
  t.ok(list.isFresh())
  clock.set(-7200)
  clock.pass(31)
  t.notOk(list.isFresh())
})

t.test('revocations: an entry is forgotten once it has passed by both clocks', async (t) => {
  const { list, clock, in_, confirm } = aList()
  confirm()
  list.add([{ sid: 'a', until: in_(360) }])
  clock.set(3600)
  confirm()
  t.ok(list.has({ sid: 'a' }), 'the wall clock alone does not do')
  clock.set(-7200)
  clock.pass(400)
  confirm()
  t.ok(list.has({ sid: 'a' }), 'nor does the monotonic one')
  clock.set(3600)
  confirm()
  t.notOk(list.has({ sid: 'a' }))
  t.equal(list.size, 0)
})

t.test('revocations: an entry that is sent again is kept for as long as the later one says', async (t) => {
  const { list, clock, in_, confirm } = aList()
  confirm()
  list.add([{ sid: 'a', until: in_(360) }])
  clock.pass(300)
  list.add([{ sid: 'a', until: in_(360) }])
  clock.pass(100)
  confirm()
  t.ok(list.has({ sid: 'a' }))
})

t.test('revocations: a restart forgets nothing, but nothing else is known until it is confirmed', async (t) => {
  const { list, in_, confirm } = aList()
  confirm()
  list.add([{ sid: 'a', until: in_(360) }])
  list.restart()
  t.ok(list.has({ sid: 'a' }))
  t.notOk(list.isFresh())
  confirm()
  t.ok(list.has({ sid: 'a' }))
  t.ok(list.isFresh())
})

t.test(
  'revocations: after a loss of the list older tokens of Keyturn count as revoked until the service takes it back',
  async (t) => {
    const { list, confirm } = aList()
    confirm({ lostBefore: 1000 })
    t.ok(list.has({ sid: 'a', iat: 999 }))
    t.ok(list.has({ client_id: 'billing', iat: 999 }))
    t.ok(list.has({ sid: 'a' }), 'without iat it may be older')
    t.notOk(list.has({ sid: 'a', iat: 1000 }))
    t.notOk(list.has({ iat: 999 }), 'a token that no list ever had')
    confirm()
    t.notOk(list.has({ sid: 'a', iat: 999 }))
  }
)

t.test('revocations: beyond its bound the list is not complete, and says so', async (t) => {
  const { list, in_, confirm } = aList({ maxEntries: 2 })
  confirm()
  list.add(['a', 'b'].map((sid) => ({ sid, until: in_(360) })))
  t.ok(list.isFresh())
  list.add([{ jti: 'c', until: in_(360) }])
  t.notOk(list.isFresh())
})
