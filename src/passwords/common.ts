import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** 49,000 passwords from leaks, in lower case, the most common ones first. MIT: @zxcvbn-ts/language-common. */
const list = fileURLToPath(import.meta.resolve('@zxcvbn-ts/language-common/src/passwords.json'))

/**
 * Whether `folded`, a password in NFKC and lower case, is commonly used.
 *
 * Searches the list as one string each time, which takes 2 ms; passwords are rarely set. A Set would take 14 MB in every worker
 * and block it for 90 ms on the first use.
 */
export async function isCommon(folded: string): Promise<boolean> {
  // No list has every length of one repeated character.
  if (new Set(folded).size === 1) return true
  return (await readFile(list, 'utf8')).includes(JSON.stringify(folded))
}
