import { isIP } from 'node:net'

/**
 * An origin as browsers serialise it: lower case, without the default port. Undefined when the text is not an origin. Apps
 * have schemes of their own, as capacitor://localhost, which the URL standard gives no origin: scheme and host are theirs.
 * @see RFC 6454 §6.1
 */
export function parseOrigin(text: string): string | undefined {
  if (!/^[a-z][a-z\d+.-]*:\/\/[^\s/?#@\\*]+$/i.test(text) || !URL.canParse(text)) return undefined
  const { protocol, host } = new URL(text)
  return host === '' ? undefined : `${protocol}//${host}`.toLowerCase()
}

/**
 * The domain of a cookie in ASCII and lower case, without the leading dot that RFC 6265 §5.2.3 ignores. Undefined for an
 * address, and for a single label, for which browsers keep no cookie.
 */
export function parseCookieDomain(text: string): string | undefined {
  const origin = parseOrigin(`http://${text.replace(/^\./, '')}`)
  const host = origin?.slice('http://'.length) ?? ''
  const isName = /^(?=.{1,253}$)([a-z\d]([a-z\d-]{0,61}[a-z\d])?\.)+[a-z\d]([a-z\d-]{0,61}[a-z\d])?$/.test(host)
  return isName && isIP(host) === 0 ? host : undefined
}
