/*
 * The process that bench/observability.ts measures: the service, with switches for what its metrics and traces do in a request. Two
 * processes that run the same code differ by some 15 % for as long as they live, and two copies of the code in one process by 5 %.
 * Here, both sides of a comparison are the same code in the same process, half a second apart.
 *
 * The environment has the settings; the argument is the folder of a copy of the service with switched plugins. The first message is
 * the port. Each message that it gets, the positions of the switches, is answered with the CPU time used so far, in microseconds.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Switches, switchTimings, turn } from './switches.ts'

const folder = process.argv[2] ?? ''
const load = (path: string) => import(pathToFileURL(join(folder, 'dist/src', path)).href)
const { loadConfig } = (await load('config/load.js')) as typeof import('../src/config/load.ts')
const { openLog } = (await load('cluster/log.js')) as typeof import('../src/cluster/log.ts')
const { openTracing } = (await load('tracing/open.js')) as typeof import('../src/tracing/open.ts')
const { Timings } = (await load('timings.js')) as typeof import('../src/timings.ts')
const { buildApp } = (await load('app.js')) as typeof import('../src/app.ts')

switchTimings(Timings)
const config = loadConfig(process.env)
const log = await openLog(config)
const { server } = await buildApp(config, { log, tracing: await openTracing(process.env, log) })
server.listen(0, '127.0.0.1')
await once(server, 'listening')
process.on('message', (switches: Switches) => {
  turn(switches)
  const { user, system } = process.cpuUsage()
  process.send?.(user + system)
})
process.once('disconnect', () => process.exit())
process.send?.((server.address() as AddressInfo).port)
