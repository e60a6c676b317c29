/*
 * Loaded before Keyturn (NODE_OPTIONS=--import): its processes believe that it is later or earlier, by the seconds that stand in
 * the file CLOCK_OFFSET_FILE, as on a host whose clock was set. performance.now() goes on as it does there.
 */
import { existsSync, readFileSync } from 'node:fs'

const file = process.env.CLOCK_OFFSET_FILE ?? ''
const { now } = Date
let offset = 0
const read = (): void => {
  if (existsSync(file)) offset = Number(readFileSync(file, 'utf8')) * 1000
}
read()
setInterval(read, 20).unref()
Date.now = () => now() + offset
