import type { FieldMessage, FieldMessages } from './errors.ts'

/** A parameter: any text, one text, or a whole number. Each is given once. */
export type ParameterSchema = Annotations &
  (
    | { readonly type: 'string'; readonly const?: string }
    | { readonly type: 'integer'; readonly minimum: number; readonly maximum: number; readonly default?: number }
  )

interface Annotations {
  readonly description?: string
  readonly examples?: readonly unknown[]
}

/** The JSON schema of a query or of the parameters in a path. */
export interface ParametersSchema {
  readonly properties: Readonly<Record<string, ParameterSchema>>
  readonly required?: readonly string[]
}

/** The parameters that the schema names, or the errors of each. */
export type ParametersResult =
  | { readonly fields: Readonly<Record<string, string | number>> }
  | { readonly messages: FieldMessages }

const keywords: Readonly<Record<string, readonly string[]>> = {
  string: ['const'],
  integer: ['minimum', 'maximum', 'default']
}
const annotations = ['type', 'description', 'examples']

/**
 * A reader of the parameters that `schema` names; unknown ones are ignored. Throws Error for a schema with a type or keyword
 * that it would not enforce.
 */
export function makeReadParameters(
  schema: ParametersSchema
): (values: Readonly<Record<string, unknown>>) => ParametersResult {
  const { properties, required = [] } = schema
  for (const [name, property] of Object.entries(properties)) demandKeywords(name, property)
  return (values) => {
    const fields: Record<string, string | number> = {}
    const messages: Record<string, readonly FieldMessage[]> = {}
    for (const [name, property] of Object.entries(properties)) {
      const value = values[name]
      // One that is repeated is a list.
      const read = value === undefined ? defaultOf(property) : typeof value === 'string' && parse(property, value)
      if (read !== undefined && read !== false) fields[name] = read
      else if (read === false) messages[name] = [messageOf(property)]
      else if (required.includes(name)) messages[name] = ['This field is required.']
    }
    return Object.keys(messages).length > 0 ? { messages } : { fields }
  }
}

/** The errors of each parameter. */
export const messagesOf = ({ properties }: ParametersSchema): FieldMessages =>
  Object.fromEntries(Object.entries(properties).map(([name, property]) => [name, [messageOf(property)]]))

function demandKeywords(name: string, property: ParameterSchema): void {
  const known = keywords[property.type]
  if (known === undefined) throw new Error(`${name}: type ${property.type} is not enforced`)
  const unknown = Object.keys(property).find((each) => !known.includes(each) && !annotations.includes(each))
  if (unknown !== undefined) throw new Error(`${name}: ${unknown} is not enforced`)
}

const defaultOf = (property: ParameterSchema): number | undefined =>
  property.type === 'integer' ? property.default : undefined

function parse(property: ParameterSchema, text: string): string | number | false {
  if (property.type === 'string') return (property.const === undefined || text === property.const) && text
  const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  return number >= property.minimum && number <= property.maximum && number
}

function messageOf(property: ParameterSchema): FieldMessage {
  if (property.type === 'integer') return `It must be a whole number from ${property.minimum} to ${property.maximum}.`
  return property.const === undefined ? 'It must be there once.' : `It must be "${property.const}".`
}
