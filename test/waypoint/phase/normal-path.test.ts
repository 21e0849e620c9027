import t from 'tap'
import { normalPath, normalRewrite } from '../../../waypoint/phase/normal-path.ts'
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
  ['/%', '/%'],
  ['/%zz', '/%zz'],
  ['/100%/%2e%2e/x', '/x'],
  ['/100%%2e', undefined],
  ['/%4', '/%4'],
  ['/%00', undefined],
  ['/%2%45%2%45/admin', undefined],
  ['/%%32E%%32E/admin', undefined],
  ['/%%35C..%%35Cadmin', undefined],
  ['/%252e%252E/admin', '/%252e%252E/admin'],
  ['a/b', undefined],
  ['', undefined],
]
for (const [given, normal] of cases)
  t.test(`the path ${JSON.stringify(given)}`, async (t) => {
    t.equal(normalPath(given), normal)
    if (normal !== undefined) t.equal(normalPath(normal), normal, 'and it stays so')
  })

const merged: [given: string, merged: string | undefined, decoded: string | undefined][] = [
  ['/a//b', '/a/b', '/a/b'],
  ['//a///b//', '/a/b/', '/a/b/'],
  ['/a?b=//c', '/a?b=//c', '/a?b=//c'],
  ['/a%2fb', '/a%2Fb', '/a/b'],
  ['/a%2F%2fb', '/a%2F%2Fb', '/a/b'],
  ['/a%5Cb%5c', '/a%5Cb%5C', '/a/b/'],
  ['/a%2f..%2Fadmin', '/a%2F..%2Fadmin', '/admin'],
  ['/a/%2e%2e%2fadmin', '/a/..%2Fadmin', '/admin'],
  ['/a//../b', '/a/b', '/a/b'],
  ['/a%252fb', '/a%252fb', '/a%252fb'],
  ['/%2f%00', undefined, undefined],
  ['%2fa', undefined, undefined],
  ['/plain', '/plain', '/plain'],
]
for (const [given, one, other] of merged)
  t.test(`the path ${given} where slashes are merged, and where they are decoded first`, async (t) => {
    for (const [spelling, want] of [
      ['merge-slashes', one],
      ['decode-and-merge-slashes', other],
    ] as const) {
      t.equal(normalPath(given, spelling), want, spelling)
      if (want !== undefined) t.equal(normalPath(want, spelling), want, 'and it stays so')
    }
  })

t.test('whatever is let through has one spelling: no step of it makes another escape', async (t) => {
  const parts = ['%', '2', 'e', 'E', '5', 'c', '4', '0', '/', '.', '\\', 'a']
  let random = 7
  const draw = () => (random = (random * 48_271) % 0x7fffffff) % parts.length
  for (let n = 0; n < 50_000; n++) {
    const path = `/${Array.from({ length: 1 + (n % 12) }, () => parts[draw()]).join('')}`
    const normal = normalPath(path)
    if (normal !== undefined && normalPath(normal) !== normal) t.fail(`${path} became ${normal}`)
    for (const spelling of ['merge-slashes', 'decode-and-merge-slashes'] as const) {
      const more = normalPath(path, spelling)
      if (more === undefined) continue
      if (normalPath(more, spelling) !== more) t.fail(`${path} became ${more} by ${spelling}`)
      if (more.includes('//')) t.fail(`${path} kept slashes by ${spelling}`)
    }
  }
})

const rewritten: [made: string, sent: string | undefined][] = [
  ['/b/x', '/b/x'],
  ['/b/%61%2f', '/b/a%2F'],
  ['/b//x', '/b//x'],
  ['/b/.x/..y/z.', '/b/.x/..y/z.'],
  ['/b?c=/../d', '/b?c=/../d'],
  ['/../admin', undefined],
  ['/b/../admin', undefined],
  ['/b/./admin', undefined],
  ['/b/..', undefined],
  ['/b/.', undefined],
  ['/b/%2e%2E/admin', undefined],
  ['/b/.%2e/admin', undefined],
  ['/b\\..\\admin', undefined],
  ['/b/%2', '/b/%2'],
  ['/b/%2%45', undefined],
  ['/b%00', undefined],
]
for (const [made, sent] of rewritten)
  t.test(`a rewrite that makes ${JSON.stringify(made)}`, async (t) => {
    t.equal(normalRewrite(made), sent)
  })

t.test('texts of a local reply', async (t) => {
  t.equal(grpcMessage('100 % sure: ü\n'), '100 %25 sure: %C3%BC%0A')
  t.equal(shadowOf('a.b'), 'a.b-shadow')
  t.equal(shadowOf('a.b:80'), 'a.b-shadow:80')
})
