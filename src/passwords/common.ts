import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** 49,000 passwords from leaks, in small letters, the most common ones first. MIT: @zxcvbn-ts/language-common. */
const list = fileURLToPath(import.meta.resolve('@zxcvbn-ts/language-common/src/passwords.json'))

/**
 * Whether `folded`, a password in NFKC and small letters, is among those that many people use.
 *
 * The list is searched as the text that it is, anew each time: that takes 2 ms, and nobody sets passwords often. As a
 * Set it would be 14 MB in every worker, and hold up its other requests for 90 ms at the first one.
 */
export async function isCommon(folded: string): Promise<boolean> {
  // One character again and again is in no list in each of its lengths.
  if (new Set(folded).size === 1) return true
  return (await readFile(list, 'utf8')).includes(JSON.stringify(folded))
}
