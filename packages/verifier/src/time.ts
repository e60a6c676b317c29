/** Both clocks, in seconds. */
export interface Time {
  /** Since 1970. It may be set, forward and back. */
  now(): number
  /** Since some moment. It only goes forward. */
  monotonic(): number
}

export const systemTime: Time = {
  now: () => Date.now() / 1000,
  monotonic: () => performance.now() / 1000
}
