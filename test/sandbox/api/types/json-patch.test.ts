import fc from 'fast-check'
import t from 'tap'
import { type JsonObject, jsonPatch, mergePatch } from '../../../../sandbox/api/types/index.ts'
import { nested } from './samples.ts'
import '../../../fakes/seed.ts'

const live = (): JsonObject => ({ metadata: { labels: { 'a/b': '1', c: '2' } }, list: ['x', 'y'] })

const patched: [what: string, ops: unknown, result: JsonObject][] = [
  ['add to a list', [{ op: 'add', path: '/list/1', value: 'n' }], { ...live(), list: ['x', 'n', 'y'] }],
  ['append', [{ op: 'add', path: '/list/-', value: 'n' }], { ...live(), list: ['x', 'y', 'n'] }],
  [
    'remove an escaped key',
    [{ op: 'remove', path: '/metadata/labels/a~1b' }],
    { ...live(), metadata: { labels: { c: '2' } } },
  ],
  ['replace', [{ op: 'replace', path: '/list', value: [] }], { ...live(), list: [] }],
  [
    'move',
    [{ op: 'move', from: '/list', path: '/metadata/list' }],
    { metadata: { ...Object(live()['metadata']), list: ['x', 'y'] } },
  ],
  ['copy', [{ op: 'copy', from: '/list/0', path: '/first' }], { ...live(), first: 'x' }],
  ['a test that holds', [{ op: 'test', path: '/list/0', value: 'x' }], live()],
  ['a test for null of what is missing', [{ op: 'test', path: '/none', value: null }], live()],
  ['nothing', [], live()],
]
for (const [what, ops, result] of patched)
  t.test(`JSON patch: ${what}`, async (t) => {
    const before = live()
    t.strictSame(jsonPatch(before, ops), { object: result })
    t.strictSame(before, live(), 'the live object is left alone')
  })

const doubling = [...Array<unknown>(40)].map((_, i) => ({ op: 'copy', from: '/a', path: `/a/k${i}` }))
const rejected: [what: string, ops: unknown, reason: RegExp][] = [
  ['no list', { op: 'add' }, /must be a list/],
  ['an unknown operation', [{ op: 'append', path: '/a', value: 1 }], /Unexpected kind/],
  ['no pointer', [{ op: 'add', path: 'a', value: 1 }], /JSON pointer/],
  ['no value', [{ op: 'add', path: '/a' }], /needs a value/],
  ['a test that fails', [{ op: 'test', path: '/list/0', value: 'z' }], /test/i],
  ['removing what is not there', [{ op: 'remove', path: '/none' }], /nonexistent key: "\/none"/],
  ['a parent that is not there', [{ op: 'add', path: '/none/a', value: 1 }], /nonexistent key/],
  ['the prototype', [{ op: 'add', path: '/__proto__/polluted', value: 1 }], /may not name __proto__/],
  [
    'a function that all objects share',
    [{ op: 'add', path: '/toString/polluted', value: 1 }],
    /nonexistent key/,
  ],
  ['the constructor', [{ op: 'add', path: '/constructor/prototype/polluted', value: 1 }], /nonexistent key/],
  ['the whole document made a list', [{ op: 'replace', path: '', value: [] }], /no object/],
  ['too many operations', Array(10_001).fill({ op: 'test', path: '', value: {} }), /10000/],
  [
    'copies that double',
    [{ op: 'add', path: '/a', value: { s: 'x'.repeat(1000) } }, ...doubling],
    /add too much|too deeply/,
  ],
  ['a value nested too deeply', [{ op: 'add', path: '/a', value: nested(70) }], /too deeply/],
]
for (const [what, ops, reason] of rejected)
  t.test(`JSON patch: ${what} is rejected`, async (t) => {
    t.match(jsonPatch(live(), ops), { reject: reason })
    t.notOk('polluted' in {})
  })

// RFC 7386, appendix A: the cases with objects.
const merges: [live: JsonObject, patch: unknown, result: JsonObject][] = [
  [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
  [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
  [{ a: 'b' }, { a: null }, {}],
  [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
  [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
  [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
  [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
  [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
]
for (const [before, patch, result] of merges)
  t.test(`merge patch ${JSON.stringify(patch)} on ${JSON.stringify(before)}`, async (t) => {
    t.strictSame(mergePatch(before, patch), { object: result })
  })

t.test(
  'a merge patch that is no object or too deep is rejected; one with __proto__ is harmless',
  async (t) => {
    t.match(mergePatch({}, []), { reject: /must be an object/ })
    t.match(mergePatch({}, nested(70)), { reject: /too deeply/ })
    t.strictSame(
      mergePatch({}, JSON.parse('{"__proto__":{"polluted":1},"a":{"__proto__":{"polluted":1}}}')),
      { object: { a: {} } },
    )
    t.strictSame(mergePatch({}, { toString: { a: 1 } }), { object: { toString: { a: 1 } } })
    t.notOk('polluted' in {})
  },
)

t.test('no JSON patch makes it throw', async (t) => {
  const path = fc
    .array(
      fc.constantFrom('metadata', 'labels', 'list', '0', '-', '1e3', '__proto__', 'constructor', '~', 'a~1b'),
    )
    .map((steps) => steps.map((s) => `/${s}`).join(''))
  const op = fc.record({
    op: fc.constantFrom('add', 'remove', 'replace', 'move', 'copy', 'test'),
    path,
    from: path,
    value: fc.jsonValue(),
  })
  fc.assert(
    fc.property(fc.array(op, { maxLength: 6 }), (ops) => {
      jsonPatch(live(), ops)
    }),
    { numRuns: 2000 },
  )
  t.notOk('polluted' in {})
})
