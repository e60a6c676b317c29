import type { FastifySchemaCompiler, FastifyServerOptions } from 'fastify'
import { KeyturnError } from '../src/errors.ts'
import { type FieldRule, readFields } from '../src/fields.ts'

/** The part of a body's schema that the field rules need: its names, which of them must be there, and how long lists may be. */
interface BodySchema {
  readonly properties: Readonly<Record<string, { readonly maxItems?: number }>>
  readonly required?: readonly string[]
}

const rulesOf = ({ properties, required = [] }: BodySchema): Readonly<Record<string, FieldRule>> =>
  Object.fromEntries(
    Object.entries(properties).map(([name, { maxItems }]) => [
      name,
      { isRequired: required.includes(name), ...(maxItems === undefined ? {} : { maxItems }) }
    ])
  )

const compile: FastifySchemaCompiler<never> = ({ httpPart, schema }) => {
  if (httpPart !== 'body') return (value: unknown) => ({ value })
  const rules = rulesOf(schema as BodySchema)
  return (body: unknown) => {
    const result = readFields(body, rules)
    return 'fields' in result
      ? { value: result.fields }
      : { error: new KeyturnError('FIELDS_INVALID', { fields: result.messages }) }
  }
}

/**
 * What schemas do here, beside describing. Bodies are checked by Simple JWT's field rules (src/fields.ts), which a JSON
 * schema cannot say. Queries and paths are texts, and the three doors that have one look at it. Answers are made by us, of a
 * few fields each: JSON.stringify is as fast as what could be compiled for each. Fastify's own compilers are not even
 * loaded, which takes as long as all of Keyturn's files.
 */
export const fields = {
  compilersFactory: { buildValidator: () => compile, buildSerializer: () => () => JSON.stringify }
  // Fastify's types know no compilers but those of its own packages.
} as unknown as NonNullable<FastifyServerOptions['schemaController']>
