import { createHash } from 'node:crypto'
import { randomSecret } from '../random.ts'
import { parseDuration } from '../time.ts'
import type { User } from '../users/user.ts'

/** What a one-time token is for: to reset a password, to verify an address, or to accept an invitation. */
export const oneTimePurposes = ['password_reset', 'verify', 'invite'] as const
export type OneTimePurpose = (typeof oneTimePurposes)[number]

/** A one-time token as it is stored: without its secret. */
export interface OneTimeToken {
  readonly userId: string
  readonly purpose: OneTimePurpose
  /** The result of hashOneTimeToken. */
  readonly hash: string
  /** The result of userState when the token was issued. */
  readonly userState: string
  /** The management scopes of the actor that issued it; undefined if it could issue one for any user. */
  readonly issuerScopes: readonly string[] | undefined
  /** Whole seconds since 1970. */
  readonly expiresAt: number
}

/** The longest lifetime, in whole seconds: a day. */
export const maxOneTimeLifetime = 86_400

/**
 * How long a token is valid unless the caller chooses, in whole seconds. A password reset is requested by someone who waits for
 * the mail, so an hour suffices; the other mails are read when there is time.
 */
const defaultLifetimes: Readonly<Record<OneTimePurpose, number>> = {
  password_reset: 3600,
  verify: maxOneTimeLifetime,
  invite: maxOneTimeLifetime
}

/** The purpose of that name; undefined for any other text. */
export const parseOneTimePurpose = (text: string): OneTimePurpose | undefined =>
  oneTimePurposes.find((purpose) => purpose === text)

/** Whole seconds from a duration such as 3600 or 12h; undefined unless it is between a second and a day. */
export function parseOneTimeLifetime(text: string): number | undefined {
  const lifetime = parseDuration(text)
  return lifetime !== undefined && lifetime >= 1 && lifetime <= maxOneTimeLifetime ? lifetime : undefined
}

/**
 * The stored form of a token, so that a copy of the database contains nothing that can be redeemed. A fast hash suffices, since
 * 256 random bits cannot be guessed; and no salt is needed, since no two tokens are equal.
 */
export const hashOneTimeToken = (token: string): string => createHash('sha256').update(token).digest('base64url')

/** The facts about a user that a one-time token depends on. */
type StateOfUser = Pick<User, 'passwordHash' | 'isActive' | 'claims'>

/**
 * A hash of the facts about a user that a token was issued under: the password digest, the activation and the `scope` claim. A
 * token is valid while they are unchanged, so a new password revokes it however it was set: over HTTP, by a command, by another
 * worker, or by Django in its own table. A digest that a login replaces (PASSWORD_REHASH) counts as a new password. With
 * another scope, the user may have become an administrator, for whom the issuer may not be allowed to issue a token
 * (src/flows/management/act.ts).
 */
export const userState = ({ passwordHash, isActive, claims: { scope } }: StateOfUser): string =>
  createHash('sha256')
    .update(JSON.stringify(scope === undefined ? [isActive, passwordHash] : [isActive, passwordHash, scope]))
    .digest('base64url')

export interface OneTimeOptions {
  /** Whole seconds, at most maxOneTimeLifetime; by default according to the purpose. */
  readonly lifetime?: number | undefined
  /** As in OneTimeToken. */
  readonly issuerScopes?: OneTimeToken['issuerScopes']
  /** Whole seconds since 1970. */
  readonly now: number
}

/** A new token of a user: 256 random bits, and what is stored of it. */
export function makeOneTimeToken(
  user: Pick<User, 'id'> & StateOfUser,
  purpose: OneTimePurpose,
  { lifetime = defaultLifetimes[purpose], issuerScopes, now }: OneTimeOptions
): { readonly token: string; readonly stored: OneTimeToken } {
  const token = randomSecret()
  const stored = {
    userId: user.id,
    purpose,
    hash: hashOneTimeToken(token),
    userState: userState(user),
    issuerScopes,
    expiresAt: now + lifetime
  }
  return { token, stored }
}
