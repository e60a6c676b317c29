import { isIP } from 'node:net'

/**
 * An origin as browsers serialise it: lower case, without the default port. Undefined if the text is not an origin. Apps use
 * custom schemes such as capacitor://localhost, for which the URL standard defines no origin: it is the scheme and the host.
 * @see RFC 6454 §6.1
 */
export function parseOrigin(text: string): string | undefined {
  if (!/^[a-z][a-z\d+.-]*:\/\/[^\s/?#@\\*]+$/i.test(text) || !URL.canParse(text)) return undefined
  const { protocol, host } = new URL(text)
  return host === '' ? undefined : `${protocol}//${host}`.toLowerCase()
}

/**
 * The domain of a cookie in ASCII and lower case, without the leading dot that RFC 6265 §5.2.3 ignores. Undefined for an
 * address, and for a single label, for which browsers store no cookie.
 */
export function parseCookieDomain(text: string): string | undefined {
  const origin = parseOrigin(`http://${text.replace(/^\./, '')}`)
  const host = origin?.slice('http://'.length) ?? ''
  const isName = /^(?=.{1,253}$)([a-z\d]([a-z\d-]{0,61}[a-z\d])?\.)+[a-z\d]([a-z\d-]{0,61}[a-z\d])?$/.test(host)
  return isName && isIP(host) === 0 ? host : undefined
}
