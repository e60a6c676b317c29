/* MANAGEMENT_PORT: health and metrics on a port of their own, in every worker, through a reload and to the end. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { startArbiter, until } from '../support/arbiter.ts'
import { aDataDir, runKeyturn } from '../support/keyturn.ts'

const ops = ['/health/live', '/livez', '/health/ready', '/readyz', '/healthz', '/metrics']
/** On a connection of its own: one that was kept may lead to a worker that drains, and says so. */
const status = async (url: string): Promise<number> => (await fetch(url, { headers: { connection: 'close' } })).status

t.test('health and metrics are there and nowhere else, and nothing else is there', async (t) => {
  const service = await startArbiter(t, {
    MANAGEMENT_PORT: '0',
    CONSOLE: 'off',
    WEB_CONCURRENCY: '2',
    SHUTDOWN_DELAY: '2s'
  })
  const management = String(service.lines().find(({ management }) => management !== undefined)?.management)
  t.match(management, /^http:\/\/127\.0\.0\.1:\d+$/)
  t.not(management, service.url)
  const look = async () => {
    for (const path of ops) {
      t.equal(await status(`${management}${path}`), 200, path)
      t.equal(await status(`${service.url}${path}`), 404, `${path} is not of the service`)
    }
    for (const path of ['/api/token/', '/oauth/token', '/.well-known/jwks.json', '/openapi.json', '/nowhere'])
      t.equal(await status(`${management}${path}`), 404, `${path} is not of the management`)
    t.equal(await status(`${service.url}/.well-known/jwks.json`), 200)
  }
  await look()
  const lost = await fetch(`${service.url}/metrics`)
  t.equal(await lost.text(), '{"detail":"Not found."}')
  t.match(await (await fetch(`${management}/metrics`)).text(), /keyturn_processes\{kind="workers",state="ready"\} 2/)

  const reloaded = service.next('Keyturn reloaded')
  service.child.kill('SIGHUP')
  await reloaded
  await look()

  const stopped = service.stop()
  await until(async () => (await status(`${management}/health/ready`)) === 503)
  t.equal(await stopped, 0, 'probes see the stop')
})

t.test('a reload does not bind another port', async (t) => {
  const file = join(aDataDir(t), 'env')
  writeFileSync(file, '')
  const service = await startArbiter(t, { ENV_FILE: file })
  writeFileSync(file, 'MANAGEMENT_PORT=0')
  const abandoned = service.next('reload aborted: a new process failed to boot')
  service.child.kill('SIGHUP')
  t.match((await abandoned).reason, /^MANAGEMENT_PORT: a reload cannot add it; restart the service\.$/)
  t.equal(await status(`${service.url}/health/ready`), 200)
  t.equal(await service.stop(), 0)
})

t.test('a port in use is reported with the name of its setting', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1')
  await once(holder, 'listening')
  t.teardown(() => holder.close())
  const { port } = holder.address() as AddressInfo
  const { code, stderr } = await runKeyturn(['serve'], { DATA_DIR: aDataDir(t), PORT: '0', MANAGEMENT_PORT: `${port}` })
  t.equal(code, 78)
  t.match(stderr, `MANAGEMENT_PORT: cannot listen on 127.0.0.1 port ${port}: the address is already in use.`)
})
