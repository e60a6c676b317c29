import t from 'tap'
import { makeTally } from '../../../src/cli/import-tally.ts'
import type { IntakeOutcome } from '../../../src/users/intake.ts'
import { aGivenUser } from '../../conformance/user-import.ts'

const at = { row: 1, line: 1 }
const created = (passwordHash: string): IntakeOutcome => ({
  ...at,
  kind: 'created',
  user: { ...aGivenUser('7', 'ann', { passwordHash }), id: '7' }
})
const aTally = (changes: object = {}) => makeTally({ model: 'auth.user', update: false, dryRun: false, ...changes })

t.test('a dump without users fails, also with entries of other models', async (t) => {
  const tally = aTally()
  t.same(tally.lines(), ['0 created, 0 skipped, 0 refused.'])
  t.equal(tally.fault(), 'The file has no users.')
  tally.add({ ...at, kind: 'other', model: 'auth.group' })
  t.match(tally.fault(), /no entries of the model auth\.user/)
  tally.add({ ...at, kind: 'skipped' })
  t.equal(tally.fault(), undefined, 'who is there already is in')
})

t.test('the counts say what happened, or what would', async (t) => {
  const tell = (changes: object) => {
    const tally = aTally(changes)
    tally.add(created('!'))
    return tally.lines()[0]
  }
  t.equal(tell({}), '1 created, 0 skipped, 0 refused.')
  t.equal(tell({ update: true }), '1 created, 0 updated, 0 skipped, 0 refused.')
  t.equal(tell({ update: true, dryRun: true }), '1 would be created, 0 would be updated, 0 skipped, 0 refused.')
})

t.test('a strange file neither fills the memory nor writes to the terminal', async (t) => {
  const tally = aTally()
  for (let index = 0; index < 1000; index++) tally.add({ ...at, kind: 'other', model: `app.model${index}` })
  tally.add({ ...at, kind: 'other', model: '\x1b[2J' })
  const [, models = ''] = tally.lines()
  t.match(models, /^Entries of other models were ignored: app\.model0 \(1\), .*, others \(981\)\.$/)
  t.notMatch(models, '\x1b')
  t.equal(
    tally.add(created('$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g')),
    undefined,
    'there is no note about users who can log in'
  )
})
