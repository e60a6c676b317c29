import { isIPv6 } from 'node:net'

/**
 * What counts as one place on the network: an IPv4 address; of an IPv6 address its /64, which is what one customer has
 * at least (RFC 6177), and within which a machine takes whatever address it likes (RFC 8981).
 */
export function networkOf(ip: string): string {
  // A dual-stack socket gives IPv4 clients as ::ffff:192.0.2.1.
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1]
  if (mapped !== undefined) return mapped
  if (!isIPv6(ip)) return ip
  // The URL parser writes each address in one way, without a zone and with the longest run of zeros as `::`.
  const { hostname } = new URL(`http://[${ip.replace(/%.*$/, '')}]`)
  const [head = '', tail] = hostname.slice(1, -1).split('::')
  const [groups, last] = [head, tail ?? ''].map((part) => part.split(':').filter((group) => group !== ''))
  const zeros = new Array(8 - (groups?.length ?? 0) - (last?.length ?? 0)).fill('0')
  return `${[...(groups ?? []), ...zeros, ...(last ?? [])].slice(0, 4).join(':')}::/64`
}
