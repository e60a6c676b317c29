/** The service cannot be reached or cannot answer at the moment. The session is kept; try again later. */
export class Unavailable extends Error {
  override name = 'Unavailable'
  /** Seconds after which a retry makes sense, where the service named a time. */
  declare readonly retryAfter?: number
}

/** 429: too many requests from this address, or too many wrong passwords. The session is kept. */
export class Throttled extends Unavailable {
  override name = 'Throttled'
}

/** The username or the password is wrong. */
export class InvalidCredentials extends Error {
  override name = 'InvalidCredentials'
}

/** There is no session: the user never logged in, logged out, or the service ended the session. */
export class LoggedOut extends Error {
  override name = 'LoggedOut'
}

/** The service refused the request for a reason that neither a retry nor a login changes, such as a password that is too short. */
export class Rejected extends Error {
  override name = 'Rejected'
  declare readonly status: number
  /** The body of the response: `{ field: [message, …] }` or `{ detail }`. */
  declare readonly body: unknown
}
