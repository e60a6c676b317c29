/** The progress of a long command. */
export interface Progress {
  readonly rows: number
  /** Bytes read. */
  readonly bytes: number
  /** Size of the input; undefined if unknown, as with a pipe. */
  readonly totalBytes: number | undefined
  readonly seconds: number
}

/** One line of at most `width` characters: `[#####-----]  50 %  412,000 rows  21,300/s  20 s left`. */
export function progressLine({ rows, bytes, totalBytes, seconds }: Progress, width: number): string {
  const perSecond = seconds > 0 ? Math.round(rows / seconds) : 0
  const parts = [`${rows.toLocaleString('en')} rows`, `${perSecond.toLocaleString('en')}/s`]
  if (totalBytes !== undefined && totalBytes > 0 && bytes > 0) {
    const share = Math.min(bytes / totalBytes, 1)
    const done = Math.round(share * barWidth)
    parts.unshift(`[${'#'.repeat(done)}${'-'.repeat(barWidth - done)}]`, `${Math.floor(share * 100)} %`)
    parts.push(`${Math.ceil(seconds / share - seconds)} s left`)
  }
  return parts.join('  ').slice(0, width)
}

const barWidth = 20
const intervalMs = 100

/**
 * Shows progress on standard error if that is a terminal, at most ten times a second. `end` clears the line for the
 * messages that follow.
 */
export function openProgress(): { show(progress: Omit<Progress, 'seconds'>): void; end(): void } {
  const { stderr } = process
  const began = performance.now()
  let shown = 0
  return {
    show(progress) {
      const now = performance.now()
      if (!stderr.isTTY || now - shown < intervalMs) return
      shown = now
      const seconds = (now - began) / 1000
      // A terminal that does not know its width reports 0.
      stderr.write(`\r${progressLine({ ...progress, seconds }, (stderr.columns || 80) - 1)}\x1b[K`)
    },
    end() {
      if (shown > 0) stderr.write('\r\x1b[K')
    }
  }
}
