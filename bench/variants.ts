/*
 * The process that bench/observability.ts measures: several copies of the service in one process, each on a port of its own. Two
 * processes of the same code differ by some 15 % for as long as they live, and copies in one process share its heap and its luck.
 *
 * The environment has the settings; the message that it waits for lists the variants. It answers with their ports.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** A copy of the service, and what its environment has in addition. */
export interface Variant {
  readonly folder: string
  readonly env: Readonly<Record<string, string>>
}

async function listen({ folder, env }: Variant): Promise<number> {
  const load = (path: string) => import(pathToFileURL(join(folder, 'dist/src', path)).href)
  const own = { ...process.env, ...env }
  const { loadConfig } = (await load('config/load.js')) as typeof import('../src/config/load.ts')
  const { openLog } = (await load('cluster/log.js')) as typeof import('../src/cluster/log.ts')
  const { openTracing } = (await load('tracing/open.js')) as typeof import('../src/tracing/open.ts')
  const { buildApp } = (await load('app.js')) as typeof import('../src/app.ts')
  const config = loadConfig(own)
  const log = await openLog(config)
  const { server } = await buildApp(config, { log, tracing: await openTracing(own, log) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

// Each variant has listeners of its own for the end of the process.
process.setMaxListeners(0)

const [variants] = (await once(process, 'message')) as [readonly Variant[]]
const ports: number[] = []
// One after the other: the SDK reads the environment of the process.
for (const variant of variants) ports.push(await listen(variant))
process.send?.(ports)
process.once('disconnect', () => process.exit())
