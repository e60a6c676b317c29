/**
 * The limit of something that must end, in milliseconds, where `ms` is what it takes on a machine that does nothing else. It
 * tells an answer from one that never comes, on a machine that others keep busy: how long things take is measured in bench/.
 */
export const atMost = (ms: number): number => Math.max(10 * ms, 30_000)
