import { clientIdFault, hashSecret, maxClients } from '../../clients/client.ts'
import type { ClientStore } from '../../clients/store.ts'
import { type FieldMessage, KeyturnError } from '../../errors.ts'
import { type Actor, demandAuthority, type RecordAct } from './act.ts'

export interface ClientParts {
  readonly clients: ClientStore
  readonly record: RecordAct
}

/**
 * Manages OAuth clients. Each method throws KeyturnError STORE_DOWN; those on one client NOT_FOUND if it does not exist, and
 * SCOPE_MISSING if it has more management scopes than the actor.
 */
export const makeManageClients = ({ clients, record }: ClientParts) => {
  const demandClient = async (by: Actor, id: string): Promise<void> => {
    const client = (await clients.list()).find((each) => each.id === id)
    if (client === undefined) throw new KeyturnError('NOT_FOUND')
    demandAuthority(by, client.scopes)
  }

  return {
    /** All of them, by id: there are at most 1,000. */
    list: () => clients.list(),

    /**
     * Adds a client with this secret. Throws KeyturnError FIELDS_INVALID for an id that a client cannot have, NAME_TAKEN, and
     * UNSUPPORTED_CHANGE at the limit of clients.
     */
    async create(by: Actor, id: string, secret: string, scopes: readonly string[]): Promise<void> {
      const fault = clientIdFault(id)
      if (fault !== undefined) throw invalid('client_id', fault)
      demandAuthority(by, scopes)
      if ((await clients.list()).length >= maxClients)
        throw new KeyturnError('UNSUPPORTED_CHANGE', {
          detail: `The limit of ${maxClients} clients is reached: delete one first.`
        })
      if ((await clients.create(id, hashSecret({ id, secret }), scopes)) === undefined)
        throw new KeyturnError('NAME_TAKEN')
      await record('client_create', by, { object: id })
    },

    /** Replaces the secret; the old one stays valid for `overlap` whole seconds. */
    async rotateSecret(by: Actor, id: string, secret: string, overlap: number): Promise<void> {
      await demandClient(by, id)
      if (!(await clients.rotateSecret(id, hashSecret({ id, secret }), overlap))) throw new KeyturnError('NOT_FOUND')
      await record('client_secret', by, { object: id })
    },

    async delete(by: Actor, id: string): Promise<void> {
      await demandClient(by, id)
      if (!(await clients.delete(id))) throw new KeyturnError('NOT_FOUND')
      await record('client_delete', by, { object: id })
    }
  }
}

const invalid = (field: string, message: string): KeyturnError =>
  new KeyturnError('FIELDS_INVALID', { fields: { [field]: [message as FieldMessage] } })
