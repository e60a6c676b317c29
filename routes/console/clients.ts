import { ask, secret } from './acts.ts'
import { call, get, type Page } from './api.ts'
import { button, field, fill, h, table } from './dom.ts'
import { time } from './time.ts'
import type { Place, View } from './view.ts'

interface Client {
  readonly client_id: string
  readonly scope: string
  readonly created_at: string
  readonly secret_created_at: string
}

interface Credentials {
  readonly client_id: string
  readonly client_secret: string
}

/** OAuth clients: services that call this one. */
export const clients: View = {
  title: 'Clients',
  scope: 'keyturn.clients',
  isListed: true,
  async open({ root, signal, reload }: Place) {
    const { results } = await get<Page<Client>>('clients/', signal)
    const act = (run: () => Promise<boolean>) => async () => {
      if (await run()) reload()
    }
    const named = (text: string, id: string, run: () => Promise<boolean>, kind?: 'danger') => {
      const element = button(text, act(run), kind)
      element.setAttribute('aria-label', `${text}: ${id}`)
      return element
    }
    const { element } = table<Client>(
      'OAuth clients',
      [
        { name: 'Client', show: ({ client_id }) => h('code', {}, client_id) },
        { name: 'Scopes', show: ({ scope }) => scope || 'none' },
        { name: 'Created', show: ({ created_at }) => time(created_at) },
        { name: 'Secret since', show: ({ secret_created_at }) => time(secret_created_at) },
        {
          name: 'Change',
          show: ({ client_id: id }) => [
            named('New secret', id, () => rotateSecret(id)),
            ' ',
            named('Delete', id, () => remove(id), 'danger')
          ]
        }
      ],
      results
    )
    fill(root, h('p', { class: 'buttons' }, button('Create client', act(create))), element)
  }
}

const showSecret = ({ client_id, client_secret }: Credentials) => [
  h('p', {}, 'The secret of ', h('b', {}, client_id), ' is not shown again:'),
  secret(client_secret)
]

const create = (): Promise<boolean> =>
  ask<Credentials>({
    title: 'Create a client?',
    text: 'A service authenticates as a client with the secret that is shown next.',
    button: 'Create client',
    fields: [
      field('Client id', 'client_id', { required: true, autocapitalize: 'none', spellcheck: 'false' }),
      field(
        'Scopes',
        'scope',
        { autocapitalize: 'none', spellcheck: 'false' },
        'Separated by spaces, such as keyturn.revocations'
      )
    ],
    entries: { event: 'client_create' },
    run(form) {
      const scope = form.get('scope')
      return call('POST', 'clients/', { client_id: form.get('client_id'), ...(scope !== '' && { scope }) })
    },
    done: showSecret
  })

const path = (id: string): string => `clients/${encodeURIComponent(id)}/`

const rotateSecret = (id: string): Promise<boolean> =>
  ask<Credentials>({
    title: `Replace the secret of ${id}?`,
    text: 'The service needs the new secret before the old one expires.',
    button: 'New secret',
    fields: [
      field('Seconds for which the old secret stays valid', 'overlap', {
        type: 'number',
        min: 0,
        max: 2_592_000,
        value: 3600,
        required: true
      })
    ],
    entries: { event: 'client_secret' },
    run: (form) => call('POST', `${path(id)}rotate-secret/`, { overlap: Number(form.get('overlap')) }),
    done: showSecret
  })

const remove = (id: string): Promise<boolean> =>
  ask<undefined>({
    title: `Delete the client ${id}?`,
    text: 'The service can no longer authenticate, and its tokens are refused.',
    button: 'Delete client',
    isDangerous: true,
    entries: { event: 'client_delete' },
    run: () => call('DELETE', path(id)),
    done: () => h('p', {}, `The client ${id} has been deleted.`)
  })
