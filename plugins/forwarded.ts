import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { addressIn, makeAddressSet } from '../src/addresses.ts'

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
    if (raw.headers['x-forwarded-for'] !== undefined) raw.headers['x-forwarded-for'] = clientOf(raw)
    done()
  })
}

function clientOf({ headers, socket }: IncomingMessage): string {
  const last = String(headers['x-forwarded-for']).split(',').at(-1)?.trim() ?? ''
  return addressIn(last) ?? socket.remoteAddress ?? ''
}

export default fp(forwarded, { name: 'forwarded' })
