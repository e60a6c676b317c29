import type { Client } from './client.ts'

/** Where clients are kept. Every method throws KeyturnError STORE_DOWN when the store cannot be reached. */
export interface ClientStore {
  /** All of them, by id. */
  list(): Promise<readonly Client[]>
  /**
   * The new client; undefined when the id is taken. It is created in the second of the last token of a deleted client with this id,
   * or later (src/clients/client.ts, isTokenOf).
   */
  create(id: string, secretHash: string, scopes: readonly string[]): Promise<Client | undefined>
  /** Replaces the secret; the old one stays valid for `overlap` seconds. False when the client does not exist. */
  rotateSecret(id: string, secretHash: string, overlap: number): Promise<boolean>
  /** False when the client does not exist. */
  delete(id: string): Promise<boolean>
}
