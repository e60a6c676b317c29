import type { FastifySchemaCompiler, FastifyServerOptions } from 'fastify'
import { type FieldMessages, KeyturnError } from '../src/errors.ts'
import { type FieldRule, type FieldRules, readFields } from '../src/fields.ts'
import { makeReadParameters, type ParametersSchema } from '../src/parameters.ts'

/** The part of a body's schema that the field rules need: its names, which of them must be there, and how long lists may be. */
interface BodySchema {
  readonly properties: Readonly<Record<string, FieldSchema>>
  readonly required?: readonly string[]
}

interface FieldSchema {
  readonly type: string
  readonly maxItems?: number
  readonly minimum?: number
  readonly maximum?: number
}

/** Strings must not be blank, and lists not empty (src/fields.ts); items are strings. */
const bodyKeywords: Readonly<Record<string, readonly string[]>> = {
  string: ['type', 'description'],
  array: ['type', 'description', 'items', 'minItems', 'maxItems'],
  boolean: ['type', 'description'],
  object: ['type', 'description', 'additionalProperties'],
  integer: ['type', 'description', 'minimum', 'maximum']
}

/** Throws Error for a schema with a type or keyword that the field rules would not enforce. */
function rulesOf({ properties, required = [] }: BodySchema): FieldRules {
  const ruleOf = (name: string, schema: BodySchema['properties'][string]): FieldRule => {
    const unknown = Object.keys(schema).find((keyword) => !bodyKeywords[schema.type]?.includes(keyword))
    if (unknown !== undefined) throw new Error(`${name}: ${unknown} of a ${schema.type} is not enforced`)
    const { maxItems } = schema
    return { isRequired: required.includes(name), ...(maxItems === undefined ? {} : { maxItems }), ...typeOf(schema) }
  }
  return Object.entries(properties).map(([name, schema]) => [name, ruleOf(name, schema)])
}

function typeOf({ type, minimum = 0, maximum = Number.MAX_SAFE_INTEGER }: FieldSchema): Pick<FieldRule, 'type'> {
  if (type === 'boolean' || type === 'object') return { type }
  return type === 'integer' ? { type: { minimum, maximum } } : {}
}

type Result = { readonly fields: object } | { readonly messages: FieldMessages }

/** The result of a validator, as Fastify expects it. */
const show = (result: Result): { readonly value: object } | { readonly error: KeyturnError } =>
  'fields' in result
    ? { value: result.fields }
    : { error: new KeyturnError('FIELDS_INVALID', { fields: result.messages }) }

const compile: FastifySchemaCompiler<unknown> = ({ httpPart, schema }) => {
  if (httpPart === 'body') {
    const rules = rulesOf(schema as BodySchema)
    return (body: unknown) => show(readFields(body, rules))
  }
  if (httpPart === 'headers') throw new Error('a schema of header fields is not enforced')
  const read = makeReadParameters(schema as ParametersSchema)
  return (values: Readonly<Record<string, unknown>>) => show(read(values))
}

/**
 * Enforces the schemas that a route declares: that of its body by Simple JWT's field rules (src/fields.ts), which JSON Schema
 * cannot express, and those of its query and path by src/parameters.ts. A route whose schema declares more than is enforced
 * cannot be registered. Responses are not compiled: they have few fields, for which JSON.stringify is as fast. Fastify's own
 * compilers are not even loaded, since that takes as long as loading all of Keyturn's files.
 */
export const fields = {
  compilersFactory: { buildValidator: () => compile, buildSerializer: () => () => JSON.stringify }
  // Fastify's types only allow the compilers of its own packages.
} as unknown as NonNullable<FastifyServerOptions['schemaController']>
