import fc from 'fast-check'
import t from 'tap'
import { HeaderList } from '#http'
import { isFieldName, isFieldValue } from '../../../lib/http/header-list.ts'

const list = () => new HeaderList(['a', '1', 'b', '2', 'a', '3', 'c', '4', 'a', '5'])

t.test('setting a name that is there several times leaves one, where the first was', async (t) => {
  const headers = list()
  headers.set('a', 'x')
  t.same(headers.flat, ['a', 'x', 'b', '2', 'c', '4'])
  headers.set('c', 'y')
  t.same(headers.flat, ['a', 'x', 'b', '2', 'c', 'y'])
  headers.set('d', 'z')
  t.same(headers.flat, ['a', 'x', 'b', '2', 'c', 'y', 'd', 'z'])
})

t.test('taking a name away takes all of it and nothing else, a value of the same text neither', async (t) => {
  const cases: readonly (readonly [name: string, left: readonly string[]])[] = [
    ['a', ['b', '2', 'c', '4']],
    ['b', ['a', '1', 'a', '3', 'c', '4', 'a', '5']],
    ['4', list().flat],
    ['d', list().flat],
  ]
  for (const [name, left] of cases) {
    const headers = list()
    headers.delete(name)
    t.same(headers.flat, left, name)
  }
})

t.test('of a list and its copies each changes alone, in whatever order', async (t) => {
  const changes: readonly (readonly [what: string, change: (headers: HeaderList) => void])[] = [
    ['set', (headers) => headers.set('b', 'x')],
    ['set one that is not there', (headers) => headers.set('d', 'x')],
    ['add', (headers) => headers.add('a', 'x')],
    ['delete', (headers) => headers.delete('a')],
  ]
  for (const [what, change] of changes) {
    const [first, alone] = [list(), list()]
    const second = first.copy()
    const third = second.copy()
    change(alone)
    change(second)
    t.same([first.flat, second.flat, third.flat], [list().flat, alone.flat, list().flat], `${what}: a copy`)
    change(first)
    t.same([first.flat, third.flat], [alone.flat, list().flat], `${what}: what it was taken from`)
    const late = second.copy()
    change(second)
    t.same(late.flat, alone.flat, `${what}: a copy of what has changed`)
    const source = list()
    change(source.copy())
    t.same(source.flat, list().flat, `${what}: a copy that was not copied`)
  }
})

const wildText = fc.string({
  unit: fc.oneof(
    fc.constantFrom('a', ' ', '\t', '-', 'Z', '\r', '\n', '\0', '\x7f', '\xff', '\u0100'),
    fc.string(),
  ),
})

/** RFC 9110 §5.5, written otherwise: Latin-1 without control characters, nothing to trim at its ends. */
const isValue = (text: string) =>
  !/[^\t\x20-\x7e\x80-\xff]/.test(text) && text.replace(/^[\t ]+|[\t ]+$/g, '') === text

t.test('what may stand in a message is a matter of every character, at every place', async (t) => {
  fc.assert(
    fc.property(wildText, (text) => isFieldValue(text) === isValue(text)),
    { numRuns: 2_000 },
  )
  for (const text of ['', 'a', '\xff', 'a b', 'a\tb']) t.ok(isFieldValue(text), JSON.stringify(text))
  for (const text of [' ', '\t', 'a ', ' a', '\0', 'a\nb', '\x7f', '\u0100', 'a\u0100', 'a\ud83d\ude00b'])
    t.notOk(isFieldValue(text), JSON.stringify(text))
})

t.test('a name that cannot stand in a message is refused, whatever was set before', async (t) => {
  const headers = new HeaderList()
  for (let i = 0; i < 300; i++) headers.set(`x-name-${i}`, '1')
  headers.set(`x-${'n'.repeat(100)}`, '1')
  headers.set('x-name-299', '2')
  t.equal(headers.get('x-name-299'), '2')
  t.equal(headers.size, 301)
  for (const name of ['', 'X-Name-1', 'x name', 'x-name-1:', 'x-name-1\r\n', 'x-n\u00e4me']) {
    t.notOk(isFieldName(name), JSON.stringify(name))
    for (let again = 0; again < 2; again++)
      t.throws(() => headers.set(name, '1'), { code: 'bad-request' }, JSON.stringify(name))
    t.throws(() => headers.add(name, '1'), { code: 'bad-request' })
  }
  t.throws(() => headers.set('x-name-1', 'a\r\nb: c'), { code: 'bad-request' })
  t.equal(headers.size, 301)
})
