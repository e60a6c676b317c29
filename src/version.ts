import { readFileSync } from 'node:fs'

/** The version of this package. */
export const version: string = JSON.parse(readFileSync(new URL(import.meta.resolve('#package')), 'utf8')).version
