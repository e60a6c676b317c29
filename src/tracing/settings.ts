import { readFileSync, statSync } from 'node:fs'
import { loadEnvFile } from '../config/env-file.ts'
import type { Environment } from '../config/load.ts'

/** The settings for traces in the OTEL_* variables. */
export interface TracingSettings {
  readonly isOn: boolean
  /** Why traces are off although a variable asks for them. */
  readonly warning?: string
}

/**
 * The packages that record and send spans. They are optional peer dependencies, since most services send no traces: they would
 * add a third to the size of an installation.
 */
export const tracingPackages = [
  '@opentelemetry/api',
  '@opentelemetry/exporter-trace-otlp-proto',
  '@opentelemetry/resources',
  '@opentelemetry/sdk-trace-base'
] as const

const isInstalledHere = (name: string): boolean => {
  try {
    import.meta.resolve(name)
    return true
  } catch {
    return false
  }
}

/**
 * Whether traces are on: they are when OTEL_TRACES_EXPORTER is otlp, or an endpoint is set. A value that cannot be used turns
 * them off and never fails, as the specification demands: platforms set these variables for all their services.
 * Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export function readTracing(own: Environment, isInstalled = isInstalledHere): TracingSettings {
  const env = otelVariables(own)
  const exporter = env.OTEL_TRACES_EXPORTER?.trim().toLowerCase()
  const endpoints = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'].filter((name) => env[name])
  const isWanted = exporter ? exporter !== 'none' : endpoints.length > 0
  if (!isWanted || env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true') return { isOn: false }
  const protocol = env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL || env.OTEL_EXPORTER_OTLP_PROTOCOL
  if (exporter && exporter !== 'otlp') return off('OTEL_TRACES_EXPORTER: expected otlp or none')
  if (protocol && protocol !== 'http/protobuf') return off('OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf')
  // Without its value: it may contain a password.
  const invalid = endpoints.find((name) => !isHttpUrl(env[name] ?? ''))
  if (invalid !== undefined) return off(`${invalid}: expected a URL that begins with http:// or https://`)
  const broken = rules.find(({ name, isValid }) => env[name]?.trim() && !isValid(env[name].trim(), env))
  if (broken !== undefined) return off(`${broken.name}: expected ${broken.expected}`)
  const missing = tracingPackages.filter((name) => !isInstalled(name))
  if (missing.length > 0) return off(`OpenTelemetry: ${missing.join(', ')} not installed; run: npm run add-traces`)
  return { isOn: true }
}

interface Rule {
  readonly name: string
  readonly isValid: (value: string, env: Environment) => boolean
  readonly expected: string
}

// A longer timer of Node.js fires at once.
const maxMs = 2 ** 31 - 1

const wholeNumber = (name: string, maximum: number, unit: string): Rule => ({
  name,
  isValid: (value) => /^\d+$/.test(value) && Number(value) >= 1 && Number(value) <= maximum,
  expected: `a whole number of ${unit} from 1 to ${maximum}`
})

const readableFile = (name: string): Rule => ({ name, isValid: isReadable, expected: 'a file that can be read' })

/**
 * Values that the SDK does not refuse but misunderstands: it records all requests if it does not know the sampler or the ratio
 * (`0,01`), sends every millisecond if a delay is too long, and never ends if a batch has no spans.
 */
const rules: readonly Rule[] = [
  {
    name: 'OTEL_TRACES_SAMPLER',
    isValid: (value) => /^(parentbased_)?(always_on|always_off|traceidratio)$/.test(value),
    expected: 'always_on, always_off or traceidratio, or one of them after parentbased_'
  },
  {
    name: 'OTEL_TRACES_SAMPLER_ARG',
    isValid: (value, env) => !env.OTEL_TRACES_SAMPLER?.endsWith('ratio') || (Number(value) >= 0 && Number(value) <= 1),
    expected: 'a number from 0 to 1'
  },
  wholeNumber('OTEL_BSP_SCHEDULE_DELAY', maxMs, 'milliseconds'),
  wholeNumber('OTEL_BSP_EXPORT_TIMEOUT', maxMs, 'milliseconds'),
  wholeNumber('OTEL_EXPORTER_OTLP_TIMEOUT', maxMs, 'milliseconds'),
  wholeNumber('OTEL_EXPORTER_OTLP_TRACES_TIMEOUT', maxMs, 'milliseconds'),
  wholeNumber('OTEL_BSP_MAX_QUEUE_SIZE', 1_000_000, 'spans'),
  wholeNumber('OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 1_000_000, 'spans'),
  ...['CERTIFICATE', 'CLIENT_CERTIFICATE', 'CLIENT_KEY'].flatMap((file) => [
    readableFile(`OTEL_EXPORTER_OTLP_${file}`),
    readableFile(`OTEL_EXPORTER_OTLP_TRACES_${file}`)
  ])
]

function isReadable(path: string): boolean {
  try {
    // The SDK reads it again, and would wait for the writer of a pipe.
    if (!statSync(path).isFile()) return false
    readFileSync(path)
    return true
  } catch {
    return false
  }
}

const off = (reason: string): TracingSettings => ({ isOn: false, warning: `${reason}. No traces are sent` })

/** Why traces are off although a variable asks for them: one line, or none. */
export function tracingWarnings(own: Environment): readonly string[] {
  const { warning } = readTracing(own)
  return warning === undefined ? [] : [warning]
}

/** The OTEL_* variables of the environment, and of the file in its ENV_FILE, as loadConfig reads the settings. */
export function otelVariables(own: Environment): Environment {
  const all = Object.entries({ ...loadEnvFile(own.ENV_FILE), ...own })
  return Object.fromEntries(all.filter(([name]) => name.startsWith('OTEL_')))
}

function isHttpUrl(text: string): boolean {
  try {
    return /^https?:$/.test(new URL(text).protocol)
  } catch {
    return false
  }
}
