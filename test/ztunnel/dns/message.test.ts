import t from 'tap'
import { flags, parseQuery, rcodes } from '../../../ztunnel/dns/message.ts'
import { readName, skipName, writeName } from '../../../ztunnel/dns/names.ts'
import { question, queryOf } from './kit.ts'

t.test('a question is read as another implementation wrote it', async (t) => {
  const {
    question: asked,
    edns,
    id,
  } = queryOf({ name: 'Web.Shop', type: 'AAAA', payload: 1400, dnssec: true })
  t.match(asked, { name: 'web.shop', type: 28, class: 1 })
  t.match(edns, { payload: 1400, version: 0, dnssec: true })
  t.equal(id, 0x1234)
  t.equal(queryOf({ name: '.' }).question.name, '')
  t.equal(queryOf({ name: '_http._tcp.web' }).edns, undefined)
})

const edited = (edit: (bytes: Buffer) => void, draft = { name: 'web' }) => {
  const bytes = question(draft)
  edit(bytes)
  return bytes
}
const verdict = (bytes: Buffer): string => {
  const parsed = parseQuery(bytes)
  if (parsed.kind === 'query') return 'query'
  return parsed.kind === 'bad' ? `${parsed.rcode} ${parsed.reason}` : parsed.reason
}
const withName = (...bytes: number[]) =>
  Buffer.concat([question({ name: '.' }).subarray(0, 12), Buffer.from([...bytes, 0, 1, 0, 1])])
const long = (labels: number) => Array.from({ length: labels }, () => [1, 0x61]).flat()

const cases: readonly (readonly [string, Buffer, string])[] = [
  ['nothing', Buffer.alloc(0), 'short'],
  ['less than a header', Buffer.alloc(11), 'short'],
  ['a response', edited((b) => b.writeUInt16BE(flags.response, 2)), 'response'],
  ['a NOTIFY', edited((b) => b.writeUInt16BE(4 << 11, 2)), `${rcodes.NOTIMP} not a standard query`],
  ['no question', edited((b) => b.writeUInt16BE(0, 4)), `${rcodes.FORMERR} counts`],
  ['two questions', edited((b) => b.writeUInt16BE(2, 4)), `${rcodes.FORMERR} counts`],
  ['65535 records', edited((b) => b.writeUInt16BE(65_535, 10)), `${rcodes.FORMERR} counts`],
  ['a record that is not there', edited((b) => b.writeUInt16BE(1, 10)), `${rcodes.FORMERR} records`],
  ['a name that points to itself', withName(0xc0, 12), `${rcodes.FORMERR} question`],
  ['a name that points ahead', withName(0xc0, 40), `${rcodes.FORMERR} question`],
  ['a label of 64 bytes', withName(64, ...Buffer.alloc(64, 'a'), 0), `${rcodes.FORMERR} question`],
  ['a name without an end', withName(3, 0x61), `${rcodes.FORMERR} question`],
  ['a name of 255 bytes', withName(...long(127), 0), 'query'],
  ['a name of 257 bytes', withName(...long(128), 0), `${rcodes.FORMERR} question`],
  ['a header and nothing more', question({ name: 'web' }).subarray(0, 12), `${rcodes.FORMERR} question`],
  ['two OPT records', twoOpts(), `${rcodes.FORMERR} two OPT records`],
  [
    'more than 4 KiB',
    Buffer.concat([question({ name: 'web' }), Buffer.alloc(4096)]),
    `${rcodes.FORMERR} too long`,
  ],
]
for (const [name, bytes, want] of cases)
  t.test(`${name}: ${want}`, async (t) => t.equal(verdict(bytes), want))

function twoOpts(): Buffer {
  const once = question({ name: 'web', payload: 512 })
  const twice = Buffer.concat([once, once.subarray(-11)])
  twice.writeUInt16BE(2, 10)
  return twice
}

t.test('every cut of a sound message is refused, and none throws', async (t) => {
  const whole = question({ name: 'web.shop.svc.cluster.local', payload: 4096, dnssec: true })
  for (let length = 0; length < whole.length; length++)
    if (verdict(whole.subarray(0, length)) === 'query') t.fail(`cut to ${length}`)
  t.equal(verdict(whole), 'query')
})

t.test('a byte that no host name has is told apart from a dot', async (t) => {
  t.same(readName(Buffer.from('\x07web.bad\x00', 'latin1'), 0), { name: 'web\\046bad', end: 9 })
  t.same(readName(Buffer.from('\x03a\xffb\x00', 'latin1'), 0), { name: 'a\\255b', end: 5 })
  t.same(readName(Buffer.from('\x02\\0\x00', 'latin1'), 0), { name: '\\0920', end: 4 })
})

t.test('pointers: backward only, so there is an end to them, and never into the header', async (t) => {
  const header = Buffer.alloc(12)
  const after = (...bytes: number[]) => Buffer.concat([header, Buffer.from(bytes)])
  const bytes = after(0, 1, 0x61, 0, 0xc0, 13, 0xc0, 16, 0xc0, 20, 0xc0, 32, 1, 0x62, 0xc0, 13, 0xc0, 1, 0xc0)
  t.equal(skipName(bytes, 16), 18, 'to a name')
  t.equal(skipName(bytes, 18), 20, 'to a pointer')
  t.equal(skipName(bytes, 20), -1, 'to itself')
  t.equal(skipName(bytes, 22), -1, 'ahead')
  t.equal(skipName(bytes, 24), 28, 'behind a label')
  t.equal(skipName(bytes, 28), -1, 'into the header')
  t.equal(skipName(bytes, 30), -1, 'half a pointer')
  t.equal(skipName(after(3, 0x61, 0xc0, 12, 0), 14), -1, 'into a label that runs over the pointer itself')
  const chain = after(
    0,
    ...Array.from({ length: 40 }, (_, n) => [0xc0, n === 0 ? 12 : 12 + n * 2 - 1]).flat(),
  )
  t.equal(skipName(chain, 13 + 2 * 15), 13 + 2 * 16, '16 hops')
  t.equal(skipName(chain, 13 + 2 * 16), -1, '17 are too many')
  const label = (letter: string) => [63, ...Buffer.alloc(63, letter)]
  const growing = after(...label('a'), 0, ...[12, 77, 143, 209].flatMap((to) => [...label('b'), 0xc0, to]))
  t.equal(skipName(growing, 77 + 66 * 2), -1, 'pointers do not make a name longer than 255 bytes')
  t.equal(skipName(growing, 77 + 66), 77 + 66 * 2)
})

t.test('names are written as they are read', async (t) => {
  for (const name of ['', 'a', 'web.shop.svc.cluster.local', 'x'.repeat(63)]) {
    const bytes = writeName(name)
    t.same(bytes && readName(bytes, 0), { name, end: bytes?.length })
  }
  t.equal(writeName('x'.repeat(64)), undefined)
  t.equal(writeName('a..b'), undefined)
  t.equal(writeName(Array.from({ length: 128 }, () => 'a').join('.')), undefined)
})
