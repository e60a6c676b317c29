/*
 * A thread that sends a message every quarter of a millisecond. A timer of Node.js has a resolution of one millisecond, and a client
 * that polls the clock instead takes a core from the server and its stores.
 */
import { parentPort } from 'node:worker_threads'

const never = new Int32Array(new SharedArrayBuffer(4))
for (;;) {
  Atomics.wait(never, 0, 0, 0.25)
  parentPort?.postMessage(undefined)
}
