/*
 * Where the time of a side goes, from the profiles that its processes have left (PROFILE, bench/run.ts): self time, by who
 * wrote the code. What was spent on loading modules is left out: it belongs to the start. A profile has a sample each
 * millisecond, and the profiler makes everything somewhat slower: read the shares, and take the sum from the table.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** In the order of the table. */
const rooms = [
  'writing to the socket',
  'Node: HTTP, streams, timers',
  'garbage collection',
  'native code, else',
  'Fastify and its plugins',
  'other packages',
  'its own code'
] as const

type Room = (typeof rooms)[number]

/** What is read of a .cpuprofile, as V8 writes it; times are microseconds. */
interface Profile {
  readonly nodes: readonly ProfileNode[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string }
  readonly children?: readonly number[]
}

/** Microseconds a request of the processes `pids`, by room, from the profiles in `folder`. */
export function readProfiles(folder: string, pids: readonly number[], requests: number): ReadonlyMap<Room, number> {
  const sums = new Map<Room, number>()
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    // CPU.20261122.101742.10607.0.001.cpuprofile
    const pid = Number(/\.(\d+)\.\d+\.\d+\.cpuprofile$/.exec(file)?.[1])
    if (!pids.includes(pid)) continue
    const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Profile
    const roomOf = placeNodes(nodes)
    for (const [index, id] of samples.entries()) {
      const room = roomOf.get(id)
      if (room !== undefined) sums.set(room, (sums.get(room) ?? 0) + (timeDeltas[index] ?? 0) / requests)
    }
  }
  return sums
}

/** The room of each node that has one. */
function placeNodes(nodes: readonly ProfileNode[]): ReadonlyMap<number, Room> {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const places = new Map<number, Room>()
  /** `caller`: the module of the caller, for frames without a file of their own. */
  const place = (node: ProfileNode, caller: Room | undefined): void => {
    const { functionName, url } = node.callFrame
    if (url.startsWith('node:internal/modules/')) return
    const room = url === '' ? (nativeRoomOf(functionName) ?? caller) : roomOfFile(url)
    if (room !== undefined && functionName !== '(idle)') places.set(node.id, room)
    for (const child of node.children ?? []) place(byId.get(child) as ProfileNode, room)
  }
  const [root] = nodes
  if (root !== undefined) place(root, undefined)
  return places
}

function nativeRoomOf(functionName: string): Room | undefined {
  if (/^(writev|write\w*String|writeBuffer)$/.test(functionName)) return 'writing to the socket'
  if (functionName === '(garbage collector)') return 'garbage collection'
  if (functionName === '(program)') return 'native code, else'
  return undefined
}

function roomOfFile(url: string): Room {
  if (url.startsWith('node:')) return 'Node: HTTP, streams, timers'
  const [, name] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url) ?? []
  if (name === undefined) return 'its own code'
  return /^(@fastify\/|fastify|find-my-way|avvio|secure-json-parse)/.test(name)
    ? 'Fastify and its plugins'
    : 'other packages'
}

/** A table of both sides. */
export function showProfiles(floor: ReadonlyMap<Room, number>, ours: ReadonlyMap<Room, number>): readonly string[] {
  const cell = (value = 0): string => value.toFixed(1).padStart(9)
  const sum = (side: ReadonlyMap<Room, number>): number => [...side.values()].reduce((all, each) => all + each, 0)
  const line = (name: string, one: number | undefined, other: number | undefined): string =>
    `   ${name.padEnd(30)}${cell(one)}${cell(other)}${cell((other ?? 0) - (one ?? 0))}`
  return [
    `   ${'µs a request, profiled'.padEnd(30)}${['floor', 'ours', 'more'].map((title) => title.padStart(9)).join('')}`,
    ...rooms.map((room) => line(room, floor.get(room), ours.get(room))),
    line('all', sum(floor), sum(ours))
  ]
}
