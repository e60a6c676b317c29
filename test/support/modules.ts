import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { aDataDir } from './keyturn.ts'

/** The path of a module with this text, as a deployment writes one; removed with `t`. */
export function aModule(t: Pick<Test, 'teardown'>, text: string, extension: 'mjs' | 'cjs' = 'mjs'): string {
  const path = join(aDataDir(t), `module.${extension}`)
  writeFileSync(path, text)
  return path
}
