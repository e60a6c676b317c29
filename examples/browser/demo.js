import { createClient, localStorageStorage, tabStorage } from '/client/index.js'

const modes = {
  token: {
    about: 'The refresh token is in localStorage, for all tabs.',
    storage: () => localStorageStorage('demo-token')
  },
  cookie: {
    about: 'The refresh token is in a cookie that scripts cannot read.',
    storage: () => tabStorage('demo-cookie')
  }
}

const nameOf = (token) => (token === undefined ? 'none' : `…${token.slice(-8)}`)

function show(mode, { about, storage }) {
  const section = document.querySelector('template').content.cloneNode(true).querySelector('section')
  document.querySelector('main').append(section)
  const find = (selector) => section.querySelector(selector)
  section.id = mode
  find('h2').textContent = `${mode === 'token' ? 'Token' : 'Cookie'} mode`
  find('.about').textContent = about

  function log(text, kind = 'note') {
    const item = document.createElement('li')
    item.className = kind
    item.textContent = text
    find('.log').append(item)
  }

  /** As fetch, with a line in the log for each request. */
  const watch = (who) => async (input, init) => {
    const path = new URL(input.url ?? input).pathname.replace(`/${mode}`, '')
    try {
      const response = await fetch(input, init)
      log(`${who}: ${path} ${response.status}`, response.ok ? 'ok' : 'failed')
      return response
    } catch (error) {
      log(`${who}: ${path}, no answer`, 'failed')
      throw error
    }
  }

  const open = (who) =>
    createClient({
      baseUrl: `${location.origin}/${mode}`,
      mode,
      storage: storage(),
      fetch: watch(who),
      onStateChange: (state) => {
        if (who !== 'tab 1') return
        find('.state').textContent = state
        if (state === 'loggedOut') find('.token').textContent = nameOf()
      },
      onLoggedOut: () => log(`${who}: the session has ended elsewhere.`)
    })

  const tabs = [open('tab 1'), open('tab 2')]
  const [client] = tabs

  /** Runs what a button does, and shows how it ended. */
  async function run(action) {
    try {
      await action()
    } catch (error) {
      log(`${error.name}: ${error.message}`, 'failed')
    }
    const token = await client.getAccessToken().catch(() => undefined)
    find('.token').textContent = nameOf(token)
  }

  const actions = {
    async login() {
      const { username, password } = find('form').elements
      await client.login(username.value, password.value)
    },
    logout: () => client.logout(),
    call: () => client.fetch(`${location.origin}/api/orders`),
    async race() {
      log('Both tabs refresh with the same token, at the same time.')
      const refused = await client.getAccessToken()
      const tokens = await Promise.all(tabs.map((tab) => tab.getAccessToken(refused)))
      log(`Both are still logged in, with ${tokens.map(nameOf).join(' and ')}.`)
    },
    async lose() {
      log('The next answer is lost; the client asks again.')
      await fetch('/lose', { method: 'POST' })
      await client.getAccessToken(await client.getAccessToken())
      log('Still logged in.')
    }
  }
  find('form').addEventListener('submit', (event) => {
    event.preventDefault()
    run(actions.login)
  })
  for (const name of ['logout', 'call', 'race', 'lose'])
    find(`[name=${name}]`).addEventListener('click', () => run(actions[name]))
  run(() => {}).then(() => {
    if (client.state === 'loggedOut') log('There is no session yet: log in.')
  })
}

for (const [mode, options] of Object.entries(modes)) show(mode, options)
