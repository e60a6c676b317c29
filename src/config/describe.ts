import { showTime } from '../time.ts'
import {
  type Adoption,
  type Config,
  type Rate,
  type Setting,
  type SettingName,
  settings,
  variableOf
} from './settings.ts'

const names = Object.keys(settings) as SettingName[]

/** The effective configuration for `check-config --print`: one `NAME=value` line per setting, secrets masked. */
export function describeConfig(config: Config): string {
  return names.map((name) => `${variableOf(name)}=${show(config[name], settings[name].secret)}`).join('\n')
}

const isAdoption = (value: unknown): value is NonNullable<Adoption> =>
  typeof value === 'object' && value !== null && 'until' in value
const isRate = (value: unknown): value is NonNullable<Rate> => typeof value === 'object'

function show(value: unknown, secret: boolean): string {
  if (value === undefined) return ''
  if (value === null) return 'off'
  if (secret) return '(set)'
  if (Array.isArray(value)) return value.join(',')
  if (isAdoption(value)) return value.until === Number.POSITIVE_INFINITY ? 'on' : `until ${showTime(value.until)}`
  return isRate(value) ? `${value.requests}/${{ 1: 's', 60: 'm', 3600: 'h' }[value.window]}` : String(value)
}

/** The table of docs/configuration.md, generated from the settings. */
export function settingsTable(): string {
  const row = (name: SettingName): string => {
    const each: Setting<unknown> = settings[name]
    const production = each.productionDefault === undefined ? '' : ` (${each.productionDefault} in production)`
    return `| \`${variableOf(name)}\` | ${each.defaultText}${production} | ${each.about} | ${each.wants} |`
  }
  return ['| name | default | meaning | expected |', '| --- | --- | --- | --- |', ...names.map(row)].join('\n')
}
