/* For `node --import`: appends each name that a process imports to the file in RECORD_IMPORTS. Its children do it too. */
import { appendFileSync } from 'node:fs'
import { register } from 'node:module'
import { isMainThread } from 'node:worker_threads'

type Resolve = (
  name: string,
  context: object,
  next: (name: string, context: object) => Promise<object>
) => Promise<object>

export const resolve: Resolve = (name, context, next) => {
  appendFileSync(process.env.RECORD_IMPORTS ?? '', `${name}\n`)
  return next(name, context)
}

// The hooks run in a thread of their own, which loads this file too.
if (isMainThread) register(import.meta.url)
