import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { addressIn, canonicalAddress, makeAddressSet } from '../src/addresses.ts'

/**
 * X-Forwarded-* is trusted if the peer is a trusted proxy. The client is then the last entry; earlier ones are claims of the
 * client. Source: Gunicorn's forwarded_allow_ips.
 */
export function trustedProxies(ranges: readonly string[]): (address: string, hop: number) => boolean {
  if (ranges.includes('*')) return (_address, hop) => hop === 0
  const isTrusted = makeAddressSet(ranges)
  return (address, hop) => hop === 0 && isTrusted(address)
}

/**
 * Normalises the last entry of X-Forwarded-For before `request.ip` is first read by limits, log and sessions. An entry that is
 * not an address (`unknown`, a host name) is replaced by the address of the peer.
 */
async function forwarded(app: FastifyInstance): Promise<void> {
  // Node keeps an address that was read while the client was connected, so it is still known after a disconnect.
  app.server.on('connection', (socket: Socket) => void socket.remoteAddress)
  app.addHook('onRequest', function readForwarded({ raw }, _reply, done) {
    if (raw.headers['x-forwarded-for'] !== undefined) raw.headers['x-forwarded-for'] = callerOf(raw)
    done()
  })
}

function callerOf({ headers, socket }: IncomingMessage): string {
  const last = String(headers['x-forwarded-for']).split(',').at(-1)?.trim() ?? ''
  return addressIn(last) ?? socket.remoteAddress ?? ''
}

/** The address of the client for logs, the audit trail and sessions; empty if it is not known. */
export const callerAddress = ({ ip = '' }: Pick<FastifyRequest, 'ip'>): string => canonicalAddress(ip)

export default fp(forwarded, { name: 'forwarded' })
