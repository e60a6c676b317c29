import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { addressIn, makeAddressSet } from '../src/addresses.ts'

/**
 * Whose X-Forwarded-* is believed: the peer's own, if it is a trusted proxy, and nobody's behind it. The client is then
 * the last entry; earlier ones are what the client claimed. Source: Gunicorn's forwarded_allow_ips.
 */
export function trustedProxies(ranges: readonly string[]): (address: string, hop: number) => boolean {
  if (ranges.includes('*')) return (_address, hop) => hop === 0
  const isTrusted = makeAddressSet(ranges)
  return (address, hop) => hop === 0 && isTrusted(address)
}

/**
 * Makes an address of the last entry of X-Forwarded-For before anybody asks for `request.ip`: limits, log and sessions go by
 * it. An entry that is none (`unknown`, a name, rubbish) is replaced by the peer's own address, which is at least true.
 */
async function forwarded(app: FastifyInstance): Promise<void> {
  // Node remembers an address that was asked for while the client was there: who has gone is still to be named.
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
