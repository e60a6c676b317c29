import t from 'tap'
import { openApp } from '../support/app.ts'

t.test('what came before the first scrape counts, and nothing counts twice', async (t) => {
  const { app, post } = await openApp(t)
  const scrape = async (): Promise<string> => (await app.inject('/metrics')).body
  const verify = (token: string) => post('/api/token/verify/', { token })
  await verify('no token')
  await verify('nor this')
  const first = await scrape()
  t.match(first, 'keyturn_verifications_total{result="token_invalid"} 2\n')
  t.match(first, /^process_resident_memory_bytes \d+$/m, 'of the process too')
  t.match(await scrape(), 'keyturn_verifications_total{result="token_invalid"} 2\n')
  await verify('')
  await verify('nor that')
  const last = await scrape()
  t.match(last, 'keyturn_verifications_total{result="token_invalid"} 3\n')
  t.match(last, 'keyturn_verifications_total{result="fields_invalid"} 1\n')
})

t.test('the results that alerts look for are counted from zero', async (t) => {
  const { app } = await openApp(t)
  const { body } = await app.inject('/metrics')
  for (const line of [
    'refreshes_total{result="recovered"}',
    'refreshes_total{result="reused"}',
    'logins_total{result="busy"}'
  ])
    t.match(body, `keyturn_${line} 0\n`)
})

t.test('the duration of each request is counted by route, method and status class', async (t) => {
  const { app, post, logIn } = await openApp(t)
  const { access } = await logIn()
  await post('/api/token/verify/', { token: access })
  await post('/api/token/verify/', { token: 'none' })
  await app.inject({ url: '/a/path/that/a/client/made/up' })
  await app.inject({ url: '/another', method: 'PROPFIND' as 'GET' })
  const { body } = await app.inject('/metrics')
  const count = (labels: string): string | undefined =>
    body.split('\n').find((line) => line.startsWith(`http_server_request_duration_seconds_${labels} `))
  const verify = 'http_route="/api/token/verify",http_request_method="POST"'
  t.match(count(`count{${verify},http_response_status_class="2xx"}`), / 1$/)
  t.match(count(`count{${verify},http_response_status_class="4xx"}`), / 1$/)
  t.match(count(`bucket{${verify},http_response_status_class="2xx",le="+Inf"}`), / 1$/)
  t.match(count('count{http_route="none",http_request_method="GET",http_response_status_class="4xx"}'), / 1$/)
  t.notMatch(body, /made|another|PROPFIND/, 'no label contains what a client sent')
})

t.test('calls to the stores, the delay of the event loop and the age of the signing key are measured', async (t) => {
  const { app, clock, logIn } = await openApp(t)
  await logIn()
  clock.advance(90)
  const { body } = await app.inject('/metrics')
  t.match(body, /^keyturn_store_call_duration_seconds_count\{store="SQLite",result="ok"\} [1-9]\d*$/m)
  t.match(body, /^keyturn_store_circuits_open\{store="SQLite"\} 0$/m)
  t.match(body, /^# TYPE keyturn_event_loop_lag_seconds histogram$/m)
  t.match(body, /^keyturn_signing_key_age_seconds 90$/m)
})
