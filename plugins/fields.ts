import type { FastifyInstance, FastifySchema, FastifySchemaCompiler } from 'fastify'
import fp from 'fastify-plugin'
import { KeyturnError } from '../src/errors.ts'
import { readFields } from '../src/fields.ts'

/** The part of a body's schema that the field rules need: its names, and which of them must be there. */
interface BodySchema {
  readonly properties: Readonly<Record<string, unknown>>
  readonly required?: readonly string[]
}

/** Checks bodies by Simple JWT's field rules (src/fields.ts), which Ajv cannot say; everything else is left to Ajv. */
async function fields(app: FastifyInstance): Promise<void> {
  const ajv = app.validatorCompiler
  const compiler: FastifySchemaCompiler<FastifySchema> = (route) => {
    if (route.httpPart !== 'body') return (ajv as FastifySchemaCompiler<FastifySchema>)(route)
    const { properties, required = [] } = route.schema as unknown as BodySchema
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
