/** The OpenAPI document for the fuzzer: the endpoints, their input and their output. */
import { Check } from 'typebox/schema'

interface Media {
  readonly schema: object & { readonly $ref?: string }
}

interface Operation {
  readonly parameters?: readonly { readonly in: 'query' | 'path'; readonly name: string }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> }
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, Media>> }>>
}

export interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

/** One method of one path. */
export interface Endpoint {
  readonly method: string
  readonly path: string
  /** Names of its query. */
  readonly query: readonly string[]
  readonly fields: readonly string[]
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

export const endpointsOf = ({ paths, components }: OpenApi): readonly Endpoint[] =>
  Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, { parameters = [], requestBody }]) => {
      const [media] = Object.values(requestBody?.content ?? {})
      const schema = media === undefined ? {} : resolve(components, media.schema)
      return {
        method: method.toUpperCase(),
        path,
        query: parameters.filter((each) => each.in === 'query').map(({ name }) => name),
        fields: Object.keys('properties' in schema ? (schema.properties as object) : {})
      }
    })
  )

const resolve = ({ schemas }: OpenApi['components'], schema: Media['schema']): object =>
  schema.$ref === undefined ? schema : (schemas[schema.$ref.split('/').at(-1) ?? ''] ?? {})

/** What a file of ours, or of a package, or the line of a stack looks like. */
const leak = /node_modules|\.[jt]s:\d|\n\s+at |Error: /

/** The fault of a response to any request; undefined if it has none. */
export function faultOf({ status, headers, body }: Answer): string | undefined {
  if (status >= 500 && (status !== 503 || headers['retry-after'] === undefined)) return `a status of ${status}`
  if (status < 200) return `a status of ${status}`
  if (leak.test(body)) return 'it tells what is inside'
  for (const name of ['server', 'x-powered-by']) if (headers[name] !== undefined) return `a field ${name}`
  if (headers['x-request-id'] === undefined) return 'no X-Request-ID'
  if (status < 400) return undefined
  if (!/^application\/json$/.test(String(headers['content-type']))) return 'a refusal that is not JSON'
  return body === '' || isObject(body) ? undefined : 'an error that is not an object'
}

function isObject(body: string): boolean {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

/** How the response of an endpoint differs from the document; undefined if it does not. */
export function undocumented(
  { paths, components }: OpenApi,
  { method, path }: Endpoint,
  answer: Answer
): string | undefined {
  const reported = paths[path]?.[method.toLowerCase()]?.responses[answer.status]
  if (reported === undefined) return `${method} ${path} may not answer ${answer.status}`
  const [type, media] = Object.entries(reported.content ?? {})[0] ?? []
  if (type === undefined || media === undefined)
    return answer.body === '' ? undefined : 'a body where none is documented'
  if (String(answer.headers['content-type']).split(';')[0] !== type) return `a type that is not ${type}`
  if (type !== 'application/json') return undefined
  return Check(resolve(components, media.schema) as never, JSON.parse(answer.body))
    ? undefined
    : 'a body of another shape'
}
