import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'
import fp from 'fastify-plugin'
import { KeyturnError } from '../src/errors.ts'
import { readFields } from '../src/fields.ts'

/** The part of a body's schema that the field rules need: its names, and which of them must be there. */
interface BodySchema {
  readonly properties: Readonly<Record<string, unknown>>
  readonly required?: readonly string[]
}

/** Checks bodies by Simple JWT's field rules (src/fields.ts), which a JSON schema cannot say; all else by its schema. */
async function fields(app: FastifyInstance): Promise<void> {
  const compiler: FastifySchemaCompiler<never> = (route) => {
    if (route.httpPart !== 'body') return TypeBoxValidatorCompiler(route)
    const { properties, required = [] } = route.schema as BodySchema
    const optional = Object.keys(properties).filter((name) => !required.includes(name))
    return (body: unknown) => {
      const result = readFields(body, required, optional)
      return 'fields' in result
        ? { value: result.fields }
        : { error: new KeyturnError('FIELDS_INVALID', { fields: result.messages }) }
    }
  }
  app.setValidatorCompiler(compiler)
}

export default fp(fields, { name: 'fields' })
