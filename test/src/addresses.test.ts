import t from 'tap'
import { addressIn, makeAddressSet } from '../../src/addresses.ts'

t.test('addresses and ranges', async (t) => {
  const has = makeAddressSet(['192.0.2.0/25', '203.0.113.9', '2001:db8:1::/48', '::1'])
  for (const address of ['192.0.2.0', '192.0.2.127', '203.0.113.9', '2001:db8:1:ffff::9', '::1']) t.ok(has(address))
  t.ok(has('::ffff:192.0.2.1'), 'as a dual-stack socket has it')
  for (const address of ['192.0.2.128', '203.0.113.8', '2001:db8:2::', '::2', '::ffff:192.0.2.200'])
    t.notOk(has(address))
  for (const address of [undefined, '', 'localhost', '192.0.2.1:80', '192.0.2.0/25'])
    t.notOk(has(address), 'no address')
  t.notOk(makeAddressSet([])('127.0.0.1'))
})

t.test('the address in an entry of X-Forwarded-For', async (t) => {
  for (const address of ['192.0.2.1', '2001:db8::1', '::ffff:192.0.2.1']) t.equal(addressIn(address), address)
  t.equal(addressIn('192.0.2.1:4711'), '192.0.2.1')
  t.equal(addressIn('[2001:db8::1]:4711'), '2001:db8::1')
  t.equal(addressIn('[2001:db8::1]'), '2001:db8::1')
  const others = [
    '',
    'unknown',
    '_hidden',
    'example.com',
    '192.0.2',
    '192.0.2.256',
    '192.0.2.1:x',
    '[192.0.2.1',
    '[]:1'
  ]
  for (const entry of [...others, "1' OR 1=1", '../..', '192.0.2.1 ', '::1::'])
    t.equal(addressIn(entry), undefined, entry)
})
