import t from 'tap'
import { HeaderList } from '#http'

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
