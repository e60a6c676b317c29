import { KeyturnError } from '../errors.ts'
import type { PresentedToken } from '../tokens/adopted.ts'
import type { Parts } from './parts.ts'

/** A limit, since a request may have as many tokens as its header block holds, and each may cost a round trip. */
const maxTokens = 10

/**
 * Returns the result of `attempt` for the first token that it accepts. A browser sends cookies of the same name together, one
 * per domain and path, without telling them apart (RFC 6265 §5.4). Throws the last refusal. Any other error than a refused
 * token is thrown at once, and so is TOKEN_REUSED, because it has ended a session.
 */
export async function tryEach<T>(tokens: readonly string[], attempt: (token: string) => Promise<T>): Promise<T> {
  const tried = tokens.slice(0, maxTokens)
  for (const token of tried.slice(0, -1)) {
    try {
      return await attempt(token)
    } catch (error) {
      if (!(error instanceof KeyturnError) || error.status !== 401 || error.code === 'TOKEN_REUSED') throw error
    }
  }
  return await attempt(tried.at(-1) ?? '')
}

/**
 * The refresh tokens of one request, newest first. A token that another one of the same session has superseded is left out,
 * since presenting it would count as theft (docs/design.md, Sessions).
 */
export const makeNewestFirst = ({ refresh }: Pick<Parts, 'refresh'>) => {
  const read = (token: string): PresentedToken | undefined => {
    try {
      return refresh.read(token)
    } catch {
      return undefined
    }
  }
  return (tokens: readonly string[]): readonly string[] => {
    if (tokens.length < 2) return tokens
    const readable = [...new Set(tokens)]
      .flatMap((token) => ({ token, presented: read(token) }))
      .filter((each): each is { token: string; presented: PresentedToken } => each.presented !== undefined)
      .toSorted((a, b) => b.presented.generation - a.presented.generation)
    const newest = new Map<string, (typeof readable)[number]>()
    for (const each of readable) if (!newest.has(each.presented.sid)) newest.set(each.presented.sid, each)
    const ordered = [...newest.values()].toSorted((a, b) => b.presented.claims.exp - a.presented.claims.exp)
    return ordered.length === 0 ? tokens.slice(0, 1) : ordered.map(({ token }) => token)
  }
}
