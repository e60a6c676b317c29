import { ask } from './acts.ts'
import { call, get, type Page } from './api.ts'
import { badge, button, field, fill, h, table } from './dom.ts'
import { duration, secondsSince, time } from './time.ts'
import type { Place, View } from './view.ts'

export interface KeyRow {
  readonly kid: string
  readonly algorithm: string
  readonly state: 'next' | 'active' | 'retired'
  readonly published_at: string
  readonly activated_at: string | null
  readonly retired_at: string | null
}

const kinds = { next: 'warn', active: 'good', retired: 'plain' } as const

/** The keys that sign access tokens. */
export const keyTable = (keys: readonly KeyRow[]): HTMLElement =>
  table(
    'Keys that sign access tokens',
    [
      { name: 'Key', show: ({ kid }: KeyRow) => h('code', {}, kid) },
      { name: 'State', show: ({ state }) => badge(state, kinds[state]) },
      { name: 'Algorithm', show: ({ algorithm }) => algorithm },
      { name: 'Age', show: ({ published_at }) => duration(secondsSince(published_at)) },
      { name: 'Published', show: ({ published_at }) => time(published_at) },
      { name: 'Signs since', show: ({ activated_at }) => time(activated_at) },
      { name: 'Retired', show: ({ retired_at }) => time(retired_at) }
    ],
    keys
  ).element

export const keys: View = {
  title: 'Keys',
  scope: 'keyturn.keys',
  isListed: true,
  async open({ root, signal, reload }: Place) {
    const { results } = await get<Page<KeyRow>>('keys/', signal)
    if (results.length === 0) {
      fill(root, h('p', {}, 'SIGNING_KEY is set, so there are no managed keys.'))
      return
    }
    const rotate = async () => {
      if (await ask(rotation())) reload()
    }
    fill(
      root,
      h(
        'p',
        { class: 'buttons' },
        button('Rotate', () => void rotate())
      ),
      keyTable(results)
    )
  }
}

const rotation = () => ({
  title: 'Rotate the signing key?',
  text: 'A new key is published. It signs once every verifier has had time to fetch it; the current key still verifies the tokens that it has signed.',
  button: 'Rotate',
  fields: [
    field(
      'Sign with it at once, because the current key has leaked. Verifiers may refuse its tokens until they fetch it.',
      'immediate',
      {
        type: 'checkbox'
      }
    )
  ],
  entries: {},
  run: (form: FormData) =>
    call<KeyRow & { signs_from: string }>('POST', 'keys/rotate/', { immediate: form.has('immediate') }),
  done: ({ kid, signs_from }: KeyRow & { signs_from: string }) =>
    h('p', {}, 'The key ', h('code', {}, kid), ' signs from ', time(signs_from), ' on.')
})
