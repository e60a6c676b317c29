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
