import Fastify from 'fastify'
import t from 'tap'
import { fields } from '../../plugins/fields.ts'
import { makeReadParameters, messagesOf, type ParametersSchema } from '../../src/parameters.ts'

const schema: ParametersSchema = {
  required: ['after'],
  properties: {
    after: { type: 'string' },
    keep: { type: 'string', const: 'current' },
    limit: { type: 'integer', minimum: 1, maximum: 200, default: 100 }
  }
}

t.test(
  'parameters: each is read by its schema, a default replaces an absent one, unknown ones are ignored',
  async (t) => {
    const read = makeReadParameters(schema)
    t.same(read({ after: '', limit: '200', other: ['x', 'y'] }), { fields: { after: '', limit: 200 } })
    t.same(read({ after: 'x', keep: 'current' }), { fields: { after: 'x', keep: 'current', limit: 100 } })
    t.same(read({}), { messages: { after: ['This field is required.'] } })
    t.same(
      read({ after: ['x', 'y'], keep: '', limit: '' }),
      { messages: messagesOf(schema) },
      'all that are wrong at once'
    )
    for (const limit of ['0', '201', '1.5', '-1', '1e2', ' 1', '٣', '9'.repeat(16), ['1', '1']])
      t.same(
        read({ after: '', limit }),
        { messages: { limit: ['It must be a whole number from 1 to 200.'] } },
        `${limit}`
      )
  }
)

t.test('a schema that says more than is enforced is not registered', async (t) => {
  const rows: readonly (readonly [part: string, property: object, message: string])[] = [
    ['querystring', { type: 'string', pattern: '^x' }, 'x: pattern is not enforced'],
    ['querystring', { type: 'number' }, 'x: type number is not enforced'],
    ['params', { type: 'string', format: 'uuid' }, 'x: format is not enforced'],
    ['body', { type: 'string', maxLength: 9 }, 'x: maxLength of a string is not enforced'],
    ['body', { type: 'number' }, 'x: type of a number is not enforced'],
    ['body', { type: 'integer', multipleOf: 2 }, 'x: multipleOf of a integer is not enforced'],
    ['headers', { type: 'string' }, 'a schema of header fields is not enforced']
  ]
  for (const [part, property, message] of rows) {
    const app = Fastify({ schemaController: fields })
    app.post('/:x', { schema: { [part]: { type: 'object', properties: { x: property } } } }, async () => ({}))
    await t.rejects(async () => await app.ready(), { message: new RegExp(`${message}$`) }, message)
  }
})
