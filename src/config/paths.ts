import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { quote } from './env-file.ts'
import type { Config } from './settings.ts'

/** A fault line for each missing file, and for an unusable DATA_DIR. Creates nothing. */
export function pathFaults({ databaseUrl, redisUrl, dataDir, hooksModule, claimsModule }: Config): readonly string[] {
  const isEmbedded = databaseUrl === undefined || redisUrl === undefined
  return [
    ...(isEmbedded ? fault('DATA_DIR', dataDir, 'a folder that can be written', checkFolder) : []),
    ...fault('HOOKS_MODULE', hooksModule, 'a file that can be read', checkFile),
    ...fault('CLAIMS_MODULE', claimsModule, 'a file that can be read', checkFile)
  ]
}

function fault(
  variable: string,
  path: string | undefined,
  wants: string,
  check: (path: string) => void
): readonly string[] {
  if (path === undefined) return []
  try {
    check(resolve(path))
    return []
  } catch (error) {
    return [
      `${variable}: got ${quote(path)}, expected ${wants} (${(error as NodeJS.ErrnoException).code ?? (error as Error).message}).`
    ]
  }
}

function checkFile(path: string): void {
  if (!statSync(path).isFile()) throw new Error('not a file')
  accessSync(path, constants.R_OK)
}

/** The directory, or its nearest existing parent. */
function checkFolder(folder: string): void {
  let path = folder
  while (!existsSync(path) && dirname(path) !== path) path = dirname(path)
  if (!statSync(path).isDirectory()) throw new Error('not a folder')
  accessSync(path, constants.W_OK | constants.X_OK)
  if (isVirtual(path)) throw new Error('a file system of the kernel')
}

/** The types of proc and sysfs, as statfs(2) names them: they allow root to write, and then refuse every file. */
const virtual: ReadonlySet<number> = new Set([0x9fa0, 0x62656572])

const isVirtual = (path: string): boolean => process.platform === 'linux' && virtual.has(statfsSync(path).type)
