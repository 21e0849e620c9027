import t from 'tap'
import { normalPath } from '../../../waypoint/phase/normal-path.ts'
import { grpcMessage } from '../../../waypoint/phase/local-reply.ts'
import { shadowOf } from '../../../waypoint/phase/mirror.ts'

const cases: [given: string, normal: string | undefined][] = [
  ['/', '/'],
  ['/a/b?c=/../d', '/a/b?c=/../d'],
  ['/a//b', '/a//b'],
  ['/a/./b', '/a/b'],
  ['/a/../b', '/b'],
  ['/a/..', '/'],
  ['/a/b/..', '/a/'],
  ['/a/.', '/a/'],
  ['/../../etc', '/etc'],
  ['/%2e%2e/admin', '/admin'],
  ['/%2E%2e/%61dmin', '/admin'],
  ['/a%2fb', '/a%2Fb'],
  ['/a%5cb', '/a%5Cb'],
  ['\\a\\..\\b', '/b'],
  ['/a\\b', '/a/b'],
  ['/a#b', '/a'],
  ['/a?b#c', '/a?b'],
  ['/.hidden', '/.hidden'],
  ['/..x', '/..x'],
  ['/%', undefined],
  ['/%zz', undefined],
  ['/%00', undefined],
  ['a/b', undefined],
  ['', undefined],
]
for (const [given, normal] of cases)
  t.test(`the path ${JSON.stringify(given)}`, async (t) => {
    t.equal(normalPath(given), normal)
    if (normal !== undefined) t.equal(normalPath(normal), normal, 'and it stays so')
  })

t.test('texts of a local reply', async (t) => {
  t.equal(grpcMessage('100 % sure: ü\n'), '100 %25 sure: %C3%BC%0A')
  t.equal(shadowOf('a.b'), 'a.b-shadow')
  t.equal(shadowOf('a.b:80'), 'a.b-shadow:80')
})
