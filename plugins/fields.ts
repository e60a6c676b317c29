import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'
import fp from 'fastify-plugin'
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
      { isRequired: required.includes(name), ...(maxItems === undefined ? {} : { mostItems: maxItems }) }
    ])
  )

/** Checks bodies by Simple JWT's field rules (src/fields.ts), which a JSON schema cannot say; all else by its schema. */
async function fields(app: FastifyInstance): Promise<void> {
  const compiler: FastifySchemaCompiler<never> = (route) => {
    if (route.httpPart !== 'body') return TypeBoxValidatorCompiler(route)
    const rules = rulesOf(route.schema as BodySchema)
    return (body: unknown) => {
      const result = readFields(body, rules)
      return 'fields' in result
        ? { value: result.fields }
        : { error: new KeyturnError('FIELDS_INVALID', { fields: result.messages }) }
    }
  }
  app.setValidatorCompiler(compiler)
}

export default fp(fields, { name: 'fields' })
