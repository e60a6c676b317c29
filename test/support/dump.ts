/** Users as Django's `dumpdata` writes them. */

/** Django's digest of 'correct horse'. */
export const aDigest = 'pbkdf2_sha256$260000$bxV54f86TBBsYE6rnVjgau$gMWm55zfPLr+r+ShBfTkYJ/aSoZaDR93Ee091SH4xCc='

export interface DjangoEntry {
  readonly model: string
  readonly pk: unknown
  readonly fields: Readonly<Record<string, unknown>>
}

/** One entry of the model auth.user; `changes` are to its fields. */
export const aDjangoUser = (pk: unknown, changes: Readonly<Record<string, unknown>> = {}): DjangoEntry => ({
  model: 'auth.user',
  pk,
  fields: {
    password: aDigest,
    last_login: null,
    is_superuser: false,
    username: `user${pk}`,
    first_name: 'Zoë',
    last_name: 'O\'Neill "Z"',
    email: `user${pk}@example.com`,
    is_staff: false,
    is_active: true,
    date_joined: '2023-05-04T12:34:56.789Z',
    groups: [],
    user_permissions: [[1, 2]],
    ...changes
  }
})

/** `count` of them as one array on one line, as without --indent. */
export const aDump = (count: number): string =>
  JSON.stringify(Array.from({ length: count }, (_, index) => aDjangoUser(index + 1)))
