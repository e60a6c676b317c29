/** Several test files in one process: test/run.ts. */
import t from 'tap'

/** Imports a test file, named from `test`, and resolves when its tests have ended. */
export async function load(file: string): Promise<void> {
  // What the file adds to the root while it is imported comes after this test, and before the next one.
  await t.test(`${file} loads`, async () => {
    await import(`../${file}`)
  })
}
