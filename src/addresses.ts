import { BlockList, isIP, isIPv6, SocketAddress } from 'node:net'

/**
 * Whether an address is in one of `ranges`, which are valid addresses and CIDRs. An IPv4 address and its IPv6 spellings
 * are the same, on either side. Text that is not an address is in none of them.
 */
export function makeAddressSet(ranges: readonly string[]): (address: string | undefined) => boolean {
  // The usual case. Looking an address up in an empty list costs as much as in a full one.
  if (ranges.length === 0) return () => false
  const set = new BlockList()
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/')
    // isIP is not used, because compiling its regular expression for IPv6 adds five milliseconds to a start.
    const family = address.includes(':') ? 'ipv6' : 'ipv4'
    if (prefix === undefined) set.addAddress(address, family)
    else set.addSubnet(address, Number(prefix), family)
  }
  return (address = '') => {
    const family = familyOf(address)
    return family !== undefined && set.check(address, family)
  }
}

/**
 * The canonical spelling of an address in logs, the audit trail and sessions: an IPv4 address in any of its IPv6 spellings as
 * that IPv4 address, any other IPv6 address as in RFC 5952 and without its zone. Any other text is returned as it is.
 */
export function canonicalAddress(ip: string): string {
  if (!ip.includes(':')) return ip
  const address = ip.replace(/%.*$/, '')
  if (!isIPv6(address)) return ip
  // Canonical since it comes from inet_ntop: `::ffff:c000:201` becomes `::ffff:192.0.2.1`.
  const canonical = new SocketAddress({ address, family: 'ipv6' }).address
  // RFC 4291 §2.5.5.2.
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(canonical)?.[1] ?? canonical
}

/**
 * The network that limits are counted by: an IPv4 address as it is, in any of its spellings, and of any other IPv6 address its
 * /64, within which one machine can use any number of addresses (RFC 6177, RFC 8981). Any other text is returned as it is.
 */
export function networkOf(ip: string): string {
  const address = canonicalAddress(ip)
  return isIPv6(address) ? `${firstGroups(address)}::/64` : address
}

/**
 * Whether text is a host with an optional port, as in a Host field (RFC 9110 §7.2): a name, an IPv4 address, or an IPv6 address in
 * brackets. The name may have every character of RFC 3986 §3.2.2, of which DNS uses few, but may not be empty (RFC 9110 §4.2.1).
 */
export function isAuthority(text: string): boolean {
  const [, name, ipv6] = /^(?:((?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})+)|\[([\da-f:.]+)\])(?::\d*)?$/i.exec(text) ?? []
  return name !== undefined || (ipv6 !== undefined && isIPv6(ipv6))
}

/** The first four groups of an IPv6 address, with the zeros that `::` stands for. */
function firstGroups(address: string): string {
  const [head = [], tail = []] = address.split('::').map((part) => part.split(':').filter((group) => group !== ''))
  // An IPv4 address at the end takes the place of two groups.
  const length = head.length + tail.length + (address.includes('.') ? 1 : 0)
  const zeros = new Array(8 - length).fill('0')
  return [...head, ...zeros, ...tail].slice(0, 4).join(':')
}

/**
 * The address in an entry of X-Forwarded-For, which some proxies write with the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
 * Undefined when there is none in it.
 */
export function addressIn(entry: string): string | undefined {
  const [, v6, v4] = /^(?:\[([^\]]*)\]|([\d.]+))(?::\d{1,5})?$/.exec(entry) ?? []
  return [entry, v6, v4].find((each) => each !== undefined && isIP(each) !== 0)
}

function familyOf(address: string): 'ipv4' | 'ipv6' | undefined {
  const version = isIP(address)
  return version === 0 ? undefined : `ipv${version as 4 | 6}`
}
