/** Verifiers of packages/verifier. */
import type { Test } from 'tap'

/** As packages/verifier has it, which is loaded by its name as its users do. */
export interface Verifier {
  readonly isReady: boolean
  ready(timeoutMs?: number): Promise<void>
  verify(token: string): Promise<unknown>
  close(): Promise<void>
}

interface VerifierOptions {
  readonly issuer: string
  readonly client: { readonly id: string; readonly secret: string }
  readonly staleness?: number
}

/** So many verifiers, ready within 30 s, and closed with `t`. */
export async function openVerifiers(
  t: Pick<Test, 'teardown'>,
  count: number,
  options: VerifierOptions
): Promise<readonly Verifier[]> {
  // Not a name that the compiler knows: the package is built after the tests.
  const name = '@keyturn/verifier'
  const { createVerifier } = (await import(name)) as { createVerifier(options: VerifierOptions): Verifier }
  const verifiers = Array.from({ length: count }, () => createVerifier(options))
  t.teardown(() => Promise.all(verifiers.map((verifier) => verifier.close())))
  await Promise.all(verifiers.map((verifier) => verifier.ready(30_000)))
  return verifiers
}

/** Whether the verifier accepts the token. Throws unless it accepts or refuses it. */
export async function isAccepted(verifier: Verifier, token: string): Promise<boolean> {
  try {
    await verifier.verify(token)
    return true
  } catch (error) {
    if ((error as { readonly status?: number }).status !== 401) throw error
    return false
  }
}
