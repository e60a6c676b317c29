/* What Linux tells of processes: /proc. */
import { readdirSync, readFileSync } from 'node:fs'

const read = (pid: number, file: string): string => readFileSync(`/proc/${pid}/${file}`, 'utf8')

/** The process and all that it has started, and they. */
function familyOf(pid: number): readonly number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) => read(pid, `task/${task}/children`).split(' '))
  return [pid, ...children.filter((child) => child !== '').flatMap((child) => familyOf(Number(child)))]
}

export interface Footprint {
  readonly pid: number
  /** `worker` of `keyturn: worker`; of others redis, postgres or other. */
  readonly title: string
  /** Resident memory, in MB. */
  readonly rss: number
  /** What it has computed so far, for itself and the system, in seconds. */
  readonly cpu: number
}

/** The name may contain spaces, and is in brackets. User and system time are fields 14 and 15, in hundredths. Source: proc(5). */
function cpuOf(pid: number): number {
  const fields = read(pid, 'stat')
    .replace(/^.*\) /s, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** What each process of the family has used; one that ends meanwhile is left out. */
export function footprints(pid: number): readonly Footprint[] {
  return familyOf(pid).flatMap((each) => {
    try {
      const command = read(each, 'cmdline')
      const title = /^keyturn: (\w+)/.exec(command)?.[1] ?? /(redis|postgres)/.exec(command)?.[1] ?? 'other'
      const rss = Number(/^VmRSS:\s+(\d+)/m.exec(read(each, 'status'))?.[1]) / 1024
      return [{ pid: each, title, rss, cpu: cpuOf(each) }]
    } catch {
      return []
    }
  })
}
