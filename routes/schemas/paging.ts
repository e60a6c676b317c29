const [defaultLimit, maxLimit] = [100, 200]

/** The parameters of every list. */
export const pageQuery = {
  after: { type: 'string', description: 'Cursor from `next` of the previous page' },
  limit: {
    type: 'integer',
    minimum: 1,
    maximum: maxLimit,
    default: defaultLimit,
    description: 'Maximum entries per page'
  }
} as const
