import t from 'tap'
import { isTooDeep } from '../../../controller/webhook/depth.ts'

const cases: readonly (readonly [string, string, boolean])[] = [
  ['nothing', '', false],
  ['512 lists', '['.repeat(512), false],
  ['513 lists', '['.repeat(513), true],
  ['objects and lists', '{"a":['.repeat(257), true],
  ['brackets in a text', `"${'['.repeat(1_000)}"`, false],
  ['a text with a quote in it', `"\\"${'['.repeat(1_000)}"`, false],
  ['a text that ends in a backslash', `"\\\\"${'['.repeat(1_000)}`, true],
  ['many, one beside the other', `[${'[{}],'.repeat(10_000)}[]]`, false],
  ['what is closed more often than opened', ']'.repeat(1_000), false],
]
for (const [title, json, want] of cases)
  t.test(`${title}: ${want ? 'too deep' : 'not too deep'}`, async (t) => {
    t.equal(isTooDeep(Buffer.from(json)), want)
  })
