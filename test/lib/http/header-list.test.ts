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
