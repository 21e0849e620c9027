import t from 'tap'
import {
  changedTarget,
  type HttpMatch,
  type PathRewrite,
  type Redirect,
  redirectLocation,
  splitAuthority,
  substitutionProblem,
} from '../../../lib/routes/index.ts'
import { pathChange } from '../../../lib/routes/rewrite.ts'
import { request } from './routes-kit.ts'

const segments = (value: string): HttpMatch => ({ path: { kind: 'segments', value } })
const prefix = (value: string): HttpMatch => ({ path: { kind: 'prefix', value } })
const by = (value: string): PathRewrite => ({ kind: 'prefix', value })

t.test('a path is rewritten', async (t) => {
  const table: readonly [string, HttpMatch, PathRewrite, string][] = [
    // The table of the Gateway API for ReplacePrefixMatch; a trailing slash of the match is taken off by the compiler.
    ['/foo/bar', segments('/foo'), by('/xyz'), '/xyz/bar'],
    ['/foo/bar', segments('/foo'), by('/xyz/'), '/xyz/bar'],
    ['/foo', segments('/foo'), by('/xyz'), '/xyz'],
    ['/foo/', segments('/foo'), by('/xyz'), '/xyz/'],
    ['/foo/bar', segments('/foo'), by(''), '/bar'],
    ['/foo/bar', segments('/foo'), by('/'), '/bar'],
    ['/foo/', segments('/foo'), by('/'), '/'],
    ['/foo', segments('/foo'), by('/'), '/'],
    ['/foo', segments('/foo'), by(''), '/'],
    ['/foo/bar?q=/foo', segments('/foo'), by('/xyz'), '/xyz/bar?q=/foo'],
    ['/a/b', segments('/'), by('/x'), '/x/a/b'],
    ['/a/b', {}, by('/x'), '/x/a/b'],
    // VirtualServices replace text.
    ['/foobar', prefix('/foo'), by('/x'), '/xbar'],
    ['/foo/bar', prefix('/foo/'), by('/'), '/bar'],
    ['/foo', prefix('/foo'), by(''), '/'],
    ['/a', { path: { kind: 'exact', value: '/a' } }, by('/b'), '/b'],
    // All of it.
    ['/a/b?c=d', segments('/a'), { kind: 'full', value: '/x' }, '/x?c=d'],
    ['/a#f', {}, { kind: 'full', value: 'x' }, '/x'],
    // Expressions.
    [
      '/service/foo/v1/api',
      {},
      { kind: 'regex', pattern: '^/service/([^/]+)(/.*)$', substitution: '\\2/instance/\\1' },
      '/v1/api/instance/foo',
    ],
    ['/one/one', {}, { kind: 'regex', pattern: 'one', substitution: 'two' }, '/two/two'],
    ['/aaa/bbb', {}, { kind: 'regex', pattern: '(?i)A+', substitution: '\\0\\\\' }, '/aaa\\/bbb'],
    ['/x?one', {}, { kind: 'regex', pattern: 'one', substitution: 'two' }, '/x?one'],
  ]
  for (const [path, match, rewrite, want] of table)
    t.equal(changedTarget(path, pathChange(rewrite, match)), want, `${path} by ${JSON.stringify(rewrite)}`)
})

t.test('a substitution that its pattern does not fit is told', async (t) => {
  t.equal(substitutionProblem('(a)', '\\1\\0'), undefined)
  t.match(substitutionProblem('(a)', '\\2'), /not a group/)
  t.match(substitutionProblem('a', '\\x'), /backslash/)
  t.match(substitutionProblem('a', 'a\\'), /backslash/)
})

t.test('a redirect sends to', async (t) => {
  const base: Redirect = { kind: 'redirect', status: 302, port: 'request' }
  const table: readonly [string, Partial<Redirect>, string, string][] = [
    ['nothing said', {}, 'order', 'http://order/a/b?c'],
    ['the port that was asked for', {}, 'order:8080', 'http://order:8080/a/b?c'],
    ['another host', { host: 'example.org', port: 80 }, 'order:8080', 'http://example.org/a/b?c'],
    ['a port', { port: 8083 }, 'order:8080', 'http://order:8083/a/b?c'],
    ['the port of http, not written', { port: 80 }, 'order:8080', 'http://order/a/b?c'],
    ['https, and its own port', { scheme: 'https', port: 'scheme' }, 'order:8080', 'https://order/a/b?c'],
    ['443 is not written for https', { scheme: 'https', port: 443 }, 'order', 'https://order/a/b?c'],
    ['80 is for https', { scheme: 'https', port: 80 }, 'order', 'https://order:80/a/b?c'],
    ['a full path', { path: { kind: 'full', value: '/x' } }, 'order', 'http://order/x?c'],
    [
      'a full path with a query of its own',
      { path: { kind: 'full', value: '/x?y' } },
      'order',
      'http://order/x?y',
    ],
    ['a prefix', { path: { kind: 'prefix', value: '/x' } }, 'order', 'http://order/x/b?c'],
    ['IPv6', { port: 8080 }, '[fd00::1]:80', 'http://[fd00::1]:8080/a/b?c'],
  ]
  for (const [title, redirect, authority, want] of table)
    t.equal(
      redirectLocation({ ...base, ...redirect }, segments('/a'), request('/a/b?c', {}, { authority })),
      want,
      title,
    )
})

t.test('host and port of an authority', async (t) => {
  t.strictSame(splitAuthority('a:80'), { host: 'a', port: 80 })
  t.strictSame(splitAuthority('[::1]'), { host: '[::1]', port: undefined })
  t.strictSame(splitAuthority('[::1]:80'), { host: '[::1]', port: 80 })
  t.strictSame(splitAuthority('::1:80'), { host: '::1:80', port: undefined })
  t.strictSame(splitAuthority('a:b'), { host: 'a:b', port: undefined })
})
