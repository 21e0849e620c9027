import fc from 'fast-check'
import t from 'tap'
import { startLogging } from '#telemetry'
import '../../fakes/seed.ts'

const runs = 50_000
/** Bytes of a peer as they arrive in a field: any, read as UTF-8 or Latin-1, biased to what breaks lines and terminals. */
const nasty = fc.constantFrom(10, 13, 9, 34, 92, 0, 27, 0x7f, 0x85, 0x9b, 0xe2, 0x80, 0xa8, 0xae, 0xff, 0x3d)
const bytes = fc.array(fc.oneof(nasty, fc.nat(255)), { maxLength: 40 })
const text = fc
  .tuple(bytes, fc.boolean())
  .map(([raw, utf8]) => Buffer.from(raw).toString(utf8 ? 'utf8' : 'latin1'))
/** Controls (without the tabs and the end that are ours), C1, line separators, bidi marks. */
const raw = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/ // oxlint-disable-line no-control-regex

for (const format of ['json', 'plain'] as const) {
  t.test(`any bytes in a field, as the message or in an error make one valid ${format} line`, async (t) => {
    let lines: string[] = []
    const log = startLogging({ format, write: (line) => lines.push(line) }).root('access')
    fc.assert(
      fc.property(text, text, text, (authority, message, failure) => {
        lines = []
        log.info(message, { authority, error: new Error(failure), n: 1 })
        const [line = ''] = lines
        if (lines.length !== 1 || raw.test(line) || line.indexOf('\n') !== line.length - 1) return false
        if (format === 'plain') return line.split('\t').length === 5 && line.endsWith(' n=1\n')
        const told = JSON.parse(line)
        return told.authority === authority && told.message === message && told.error === failure
      }),
      { numRuns: runs },
    )
    t.pass(`${runs} cases`)
  })
}

t.test('a value is cut at 1024 characters, and what JSON cannot print does no harm', async (t) => {
  const lines: string[] = []
  const log = startLogging({ format: 'json', write: (line) => lines.push(line) }).root('x')
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  const failing = {
    toJSON() {
      throw new Error('no')
    },
  }
  const long = 'y'.repeat(5_000)
  log.warn(long, {
    long,
    list: [long],
    circular,
    failing,
    big: 10n,
    none: null,
    level: 'forged',
    time: 'forged',
  })
  const told = JSON.parse(lines[0] ?? '')
  t.match(told, { level: 'warn', circular: 'unprintable', failing: 'unprintable', big: '10', none: null })
  t.notMatch(told, { time: 'forged' })
  for (const value of [told.message, told.long, told.list])
    t.ok(value.length < 1_100, `${value.length} characters`)
  t.match(told.long, /y… \(5000 characters\)$/)
})

t.test('the filter of an operator is bounded', async (t) => {
  const { setFilter } = startLogging({ write: () => undefined })
  t.throws(() => setFilter(`info${',a=debug'.repeat(1_000)}`), RangeError)
  t.throws(() => setFilter('constructor'), RangeError)
})
