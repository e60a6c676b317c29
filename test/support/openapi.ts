/** The OpenAPI document with every endpoint enabled and default settings otherwise. As a script (`npm run openapi`) it writes docs/openapi.json. */
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'

const documentPath = fileURLToPath(new URL('../../../docs/openapi.json', import.meta.url))

/** The document as text, as it is committed. */
export async function describeApi(): Promise<string> {
  const dataDir = mkdtempSync(join(tmpdir(), 'keyturn-openapi-'))
  try {
    const hooks = join(dataDir, 'hooks.mjs')
    writeFileSync(hooks, 'export const onPasswordResetRequested = () => {}')
    const config = loadConfig({ DATA_DIR: dataDir, SLIDING_TOKENS: 'true', HOOKS_MODULE: hooks })
    const app = await buildApp(config, { log: pino({ level: 'silent' }) })
    const { body } = await app.inject('/openapi.json')
    await app.close()
    return `${JSON.stringify(JSON.parse(body), null, 2)}\n`
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}

const script = process.argv[1]
if (script !== undefined && existsSync(script) && realpathSync(script) === fileURLToPath(import.meta.url))
  writeFileSync(documentPath, await describeApi())
