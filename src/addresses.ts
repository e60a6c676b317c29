import { BlockList, isIP } from 'node:net'

/** Whether an address is in one of `ranges`, which are addresses and CIDRs (they were checked). What is no address is in none. */
export function makeAddressSet(ranges: readonly string[]): (address: string | undefined) => boolean {
  // The usual case, and to ask an empty set costs as much as a full one.
  if (ranges.length === 0) return () => false
  const set = new BlockList()
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/')
    // Not isIP, whose regular expression for IPv6 takes five milliseconds of a start to be made.
    const family = address.includes(':') ? 'ipv6' : 'ipv4'
    if (prefix === undefined) set.addAddress(address, family)
    else set.addSubnet(address, Number(prefix), family)
  }
  return (address = '') => {
    const family = familyOf(address)
    // An IPv4 address in IPv6 notation, as a dual-stack socket has it, is found among those of IPv4.
    return family !== undefined && set.check(address, family)
  }
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
