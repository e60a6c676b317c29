import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import jwt from '../../plugins/jwt.ts'
import { type Environment, loadConfig } from '../../src/config/load.ts'
import type { KeyStore, StoredKey } from '../../src/keys/store.ts'
import type { Stores } from '../../src/stores/open.ts'
import { systemClock } from '../../src/time.ts'

/** plugins/jwt.ts as the service registers it, and nothing else, over a key store in memory. To be closed. */
export async function openCodec(env: Environment): Promise<FastifyInstance> {
  const kept: StoredKey[] = []
  const keys: Partial<KeyStore> = {
    list: async () => kept,
    addFirst: async (key) => kept.push(key) > 0
  }
  const app = Fastify()
  const stores = async (host: FastifyInstance): Promise<void> => {
    host.decorate('stores', { keys, keySecret: 'x'.repeat(32) } as Stores)
  }
  await app.register(fp(stores, { name: 'stores' }))
  await app.register(fp(async () => {}, { name: 'audit' }))
  await app.register(fp(async (host) => void host.decorate('addGauge', () => {}), { name: 'metrics' }))
  await app.register(jwt, { config: loadConfig(env), clock: systemClock })
  await app.ready()
  return app
}
