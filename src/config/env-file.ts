import { parseEnv } from 'node:util'
import { settings, variableOf } from './settings.ts'
import { readUtf8 } from './text-file.ts'

type Variables = Readonly<Record<string, string | undefined>>

/**
 * The variables in ENV_FILE, a file of NAME=value lines, parsed as by `node --env-file`. Unlike the environment of a
 * process it can change before a reload. Throws an Error with fault lines if it cannot be read or is ambiguous.
 */
export function loadEnvFile(file: string | undefined): Variables {
  const content = readEnvFile(file)
  const faults = content.split(/\r?\n/).flatMap((line, index) => lineFault(line, index + 1))
  if (faults.length > 0) throw new Error(faults.join('\n'))
  return parseEnv(content)
}

function readEnvFile(file: string | undefined): string {
  if (file === undefined || file === '') return ''
  try {
    return readUtf8(file)
  } catch (error) {
    throw new Error(`ENV_FILE: got ${quote(file)}, ${(error as Error).message}.`)
  }
}

/** The fault of a line that parseEnv would silently truncate or merge with the lines after it. */
function lineFault(line: string, number: number): readonly string[] {
  const [, name, value = ''] = /^\s*(?:export\s+)?(\w+)\s*=\s*(.*)$/.exec(line) ?? []
  if (name === undefined || !isSetting(name)) return []
  if (/^[^'"`#]*[^\s#'"`]#/.test(value))
    return [`ENV_FILE: ${name} in line ${number} has a # in its value, expected the value in quotes.`]
  return []
}

/** A value in a message: quoted, on one line, without control characters. */
export const quote = (text: string): string =>
  JSON.stringify(text.slice(0, 200)).replace(/[\p{C}\p{Z}]/gu, (character) =>
    character === ' ' ? ' ' : `\\u{${character.codePointAt(0)?.toString(16)}}`
  )

const variables = Object.keys(settings).map(variableOf)

const variableNames = new Set([...variables, ...variables.map((variable) => `${variable}_FILE`), 'NODE_ENV'])

/** The variables of OpenTelemetry, of which there are many, are read by its SDK (src/tracing). */
const isSetting = (name: string): boolean => variableNames.has(name) || name.startsWith('OTEL_')

/**
 * A warning for each line of ENV_FILE that parseEnv ignores, and for each name that is not the name of a setting, with the setting
 * that may have been meant.
 */
export function envFileWarnings({ ENV_FILE }: Variables): readonly string[] {
  return [...ignoredLines(readEnvFile(ENV_FILE)), ...unknownNames(loadEnvFile(ENV_FILE))]
}

/** Without the text of a line, which may hold a secret. parseEnv knows `export` with a single space only. */
function ignoredLines(content: string): readonly string[] {
  if (/\r(?!\n)/.test(content))
    return ['ENV_FILE: has a carriage return within a line, expected lines that end with LF or CRLF']
  // A value in quotes may have several lines.
  const quoted = /^\s*(?:export )?[\w.-]+\s*=\s*(["'`])[\s\S]*?\1/gm
  const lines = content
    .replace(quoted, (value) => `A=${value.replace(/[^\n]/g, '').replaceAll('\n', '\n#')}`)
    .split('\n')
  return lines.flatMap((line, index) =>
    /^\s*(#|$|(?:export )?[\w.-]+\s*=)/.test(line)
      ? []
      : [`ENV_FILE: line ${index + 1} is not NAME=value: it is ignored, and the line after it may be too`]
  )
}

function unknownNames(variables: Variables): readonly string[] {
  return (
    Object.keys(variables)
      // parseEnv joins a line that is not an assignment to the next name; the warning of that line is enough.
      .filter((name) => /^[\w.-]+$/.test(name) && !isSetting(name))
      .map((name) => {
        const nearest = nearestSetting(name)
        const hint = nearest === undefined ? '' : ` (did you mean ${nearest}?)`
        return `ENV_FILE: ${quote(name)} is not a setting and is ignored${hint}`
      })
  )
}

/** The name of a setting that differs by at most a third of its letters. */
function nearestSetting(name: string): string | undefined {
  const upper = name.toUpperCase().slice(0, 80)
  const [nearest] = [...variableNames]
    .map((setting) => ({ setting, distance: editDistance(upper, setting) }))
    .toSorted((a, b) => a.distance - b.distance)
  return nearest !== undefined && nearest.distance <= nearest.setting.length / 3 ? nearest.setting : undefined
}

/** How many letters have to be inserted, deleted, replaced, or exchanged with the next one (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let before: readonly number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isExchange = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const exchanged = isExchange ? (before[j - 2] ?? 0) + 1 : replaced
      next.push(Math.min(replaced, exchanged, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    before = row
    row = next
  }
  return row[b.length] ?? 0
}
