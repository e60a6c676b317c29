import t from 'tap'
import { printableLine, printableText, printableValue } from '../../src/printable.ts'

const hostile = 'ann\x1b[2J\x00\x07\x7f\x85\x9b31m\u202eevil\u2066\u200f\u2028'

t.test('printable: what a terminal would act on is written as an escape', async (t) => {
  const shown = 'ann\\u001b[2J\\u0000\\u0007\\u007f\\u0085\\u009b31m\\u202eevil\\u2066\\u200f\\u2028'
  t.equal(printableLine(hostile), shown)
  t.equal(printableText(hostile), shown)
  t.equal(printableLine('a\r\n\tb'), 'a\\u000d\\u000a\\u0009b', 'a name cannot forge a line')
  t.equal(printableText('a\r\n\tb'), 'a\\u000d\n\tb')
  for (const text of ['Zoë', '日本', 'שלום', '👩‍🚀', 'it\'s \\ "q"']) t.equal(printableLine(text), text)
})

t.test('printable: JSON stays the same value', async (t) => {
  t.same(JSON.parse(printableLine(JSON.stringify({ name: hostile }))), { name: hostile })
})

t.test('printable: every text of a value, however deep', async (t) => {
  t.same(printableValue({ n: 1, none: null, list: ['a\x1b', { 'k\x9b': '\u202e' }] }), {
    n: 1,
    none: null,
    list: ['a\\u001b', { 'k\\u009b': '\\u202e' }]
  })
})
