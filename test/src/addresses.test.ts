import t from 'tap'
import { addressIn, canonicalAddress, isAuthority, makeAddressSet, networkOf } from '../../src/addresses.ts'

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

/** IPv6 spellings of 192.0.2.1: RFC 4291 §2.5.5.2. */
const spellings = [
  '::ffff:192.0.2.1',
  '::FFFF:192.0.2.1',
  '::ffff:c000:201',
  '::ffff:C000:0201',
  '0:0:0:0:0:ffff:192.0.2.1',
  '0000:0000:0000:0000:0000:ffff:c000:0201',
  '::ffff:192.0.2.1%eth0'
]

t.test('addresses: an IPv4 address is in a range in every IPv6 spelling of either', async (t) => {
  for (const ip of ['192.0.2.1', ...spellings]) {
    for (const range of ['192.0.2.0/24', '::ffff:192.0.2.0/120', '::ffff:c000:200/120', '::ffff:c000:201'])
      t.ok(makeAddressSet([range])(ip), `${ip} in ${range}`)
    for (const range of ['192.0.3.0/24', '::/96', '::1', '::ffff:0.0.0.0/104'])
      t.notOk(makeAddressSet([range])(ip), `${ip} in ${range}`)
  }
})

t.test('addresses: the network is an IPv4 address in any spelling, or the /64 of an IPv6 address', async (t) => {
  for (const [ip, network] of [
    ['192.0.2.1', '192.0.2.1'],
    ...spellings.map((spelling) => [spelling, '192.0.2.1'] as const),
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002:ffff::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8:0:0:1::', '2001:db8:0:0::/64'],
    ['2001:db8:0:1::', '2001:db8:0:1::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['1::', '1:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['::192.0.2.1', '0:0:0:0::/64'],
    ['::ffff:0:192.0.2.1', '0:0:0:0::/64'],
    ['', ''],
    ['no address', 'no address'],
    ['::ffff:192.0.2.256', '::ffff:192.0.2.256']
  ] as const) {
    t.equal(networkOf(ip), network, ip)
  }
})

t.test('addresses: each has one spelling, an IPv4 address that of IPv4', async (t) => {
  for (const spelling of ['192.0.2.1', ...spellings]) t.equal(canonicalAddress(spelling), '192.0.2.1', spelling)
  for (const spelling of ['2001:db8::1', '2001:DB8::1', '2001:0db8:0000:0:0:0:0:0001', '2001:db8:0:0::0.0.0.1'])
    t.equal(canonicalAddress(spelling), '2001:db8::1', spelling)
  t.equal(canonicalAddress('fe80::1%eth0'), 'fe80::1')
  for (const text of ['', 'unknown', '192.0.2.1:80', '::ffff:192.0.2.256']) t.equal(canonicalAddress(text), text)
})

t.test('a Host field: a name or an address, with an optional port', async (t) => {
  const names = ['x', 'id.example.com', 'ID.Example.COM.', 'my_service', 'xn--bcher-kva.example', 'a~b', '%C3%BC', '1']
  const addresses = ['192.0.2.1', '[::1]', '[2001:DB8::1]', '[::ffff:192.0.2.1]']
  for (const host of [...names, ...addresses])
    for (const port of ['', ':', ':0', ':8000']) t.ok(isAuthority(host + port), host + port)
  const empty = ['', ' ', ':', ':80', '[]', '[]:80']
  const characters = [
    'a b',
    ' a',
    'a ',
    'a\tb',
    'a\n',
    'a\0',
    'a\x7f',
    'ü',
    'a/b',
    '/',
    'a\\b',
    'a?b',
    'a#b',
    'a"b',
    '<a>',
    'a|b',
    'a^b'
  ]
  const others = [
    'u@a',
    'u:p@a',
    'http://a',
    'a:b',
    'a:80:80',
    'a:-1',
    'a:8 0',
    '%zz',
    '%2',
    'a%',
    '::1',
    '[::1',
    '::1]'
  ]
  const bracketed = ['[::1]a', 'a[::1]', '[::1]80', '[a]', '[192.0.2.1]', '[::1::]', '[fe80::1%eth0]', '[[::1]]']
  for (const host of [...empty, ...characters, ...others, ...bracketed])
    t.notOk(isAuthority(host), JSON.stringify(host))
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
