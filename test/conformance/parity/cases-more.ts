import { connect } from 'node:http2'
import {
  b64,
  type Case,
  forwardTo,
  get,
  grpc,
  ofMesh,
  ops,
  overH2,
  retries,
  retrying,
  ruleOf,
  simple,
} from './case-kit.ts'
import { type Got, h2, raw } from './client.ts'
import { rule } from '../../waypoint/kit.ts'

const nothing: Got = { status: 0, interim: [], headers: {}, body: '', trailers: '', end: 'closed' }

/** A client of HTTP/2 that takes its request back once it has been sent. */
const takenBack = (name: string, word: string): Case => ({
  name,
  rules: [ruleOf(name)],
  send: async (port) => {
    const session = connect(`http://127.0.0.1:${port}`)
    session.on('error', () => undefined)
    try {
      const stream = session.request({
        ':path': `/${name}`,
        ':authority': 'web.demo',
        'x-case': name,
        'x-do': word,
      })
      stream.on('error', () => undefined)
      await new Promise<void>((done) => {
        stream.once('response', () => done())
        setTimeout(done, 300)
      })
      const closed = new Promise<void>((done) => stream.once('close', () => done()))
      stream.close(8)
      await closed
      return nothing
    } finally {
      session.destroy()
    }
  },
})

export const more: readonly Case[] = [
  // Paths and rewrites.
  simple('regex', { path: '/42' }, {}, { match: { path: { kind: 'regex', value: '/regex/[0-9]+' } } }),
  simple(
    'regex-part',
    { path: '/42/x' },
    {},
    { match: { path: { kind: 'regex', value: '/regex-part/[0-9]+' } } },
  ),
  simple('exact', {}, {}, { match: { path: { kind: 'exact', value: '/exact' } } }),
  simple('exact-slash', { path: '/' }, {}, { match: { path: { kind: 'exact', value: '/exact-slash' } } }),
  simple('exact-query', { path: '?a=/b' }, {}, { match: { path: { kind: 'exact', value: '/exact-query' } } }),
  simple(
    'any-case',
    { path: '/X' },
    {},
    { match: { path: { kind: 'prefix', value: '/ANY-CASE' }, ignorePathCase: true } },
  ),
  simple(
    'header-match',
    { fields: ['x-m: a', 'x-m: b'] },
    {},
    {
      match: {
        path: { kind: 'prefix', value: '/header-match' },
        headers: [{ name: 'x-m', value: { kind: 'exact', value: 'a,b' } }],
      },
    },
  ),
  simple(
    'header-one',
    { fields: ['x-m: a'] },
    {},
    {
      match: {
        path: { kind: 'prefix', value: '/header-one' },
        headers: [{ name: 'x-m', value: { kind: 'exact', value: 'a' } }],
      },
    },
  ),
  simple(
    'header-absent',
    {},
    {},
    {
      match: {
        path: { kind: 'prefix', value: '/header-absent' },
        headers: [{ name: 'x-m', value: { kind: 'exact', value: 'a' }, negated: true }],
      },
    },
  ),
  simple(
    'query-match',
    { path: '?q=1&q=2' },
    {},
    {
      match: {
        path: { kind: 'prefix', value: '/query-match' },
        query: [{ name: 'q', value: { kind: 'exact', value: '1' } }],
      },
    },
  ),
  simple(
    'query-escaped',
    { path: '?q=a%20b' },
    {},
    {
      match: {
        path: { kind: 'prefix', value: '/query-escaped' },
        query: [{ name: 'q', value: { kind: 'exact', value: 'a b' } }],
      },
    },
  ),
  simple(
    'method-match',
    { method: 'PUT', fields: ['content-length: 0'] },
    {},
    {
      match: { path: { kind: 'prefix', value: '/method-match' }, method: { kind: 'exact', value: 'GET' } },
    },
  ),
  simple(
    'authority-match',
    {},
    {},
    {
      match: {
        path: { kind: 'prefix', value: '/authority-match' },
        authority: { kind: 'prefix', value: 'web' },
      },
    },
  ),
  ...(
    [
      ['/x', '/rw-a', '/rw-a'],
      ['/', '/rw-b', '/rw-b/c'],
      ['/x/', '/rw-c', '/rw-c/c'],
      ['/x', '/rw-d', '/rw-d/c?q=1'],
    ] as const
  ).map(([value, at, path]) => {
    const name = at.slice(1)
    return simple(name, { path: path.slice(at.length) }, { rewrite: { path: { kind: 'prefix', value } } })
  }),
  simple('rw-full', { path: '/a/b?c=d' }, { rewrite: { path: { kind: 'full', value: '/new' } } }),
  simple(
    'rw-regex',
    { path: '/a/b?c=d' },
    { rewrite: { path: { kind: 'regex', pattern: '/([a-z])/', substitution: '/\\1-\\1/' } } },
  ),
  // Answers of our own.
  {
    name: 'respond-head',
    rules: [
      rule({
        name: 'r',
        match: { path: { kind: 'segments', value: '/respond-head' } },
        action: { kind: 'respond', status: 200, body: b64('hello') },
      }),
    ],
    send: (port) => raw(port, get('respond-head', { method: 'HEAD' })),
  },
  {
    name: 'respond-grpc',
    rules: [
      rule({
        name: 'r',
        match: { path: { kind: 'segments', value: '/respond-grpc' } },
        action: { kind: 'respond', status: 503, body: b64('no ünicode') },
      }),
    ],
    send: (port) =>
      raw(port, get('respond-grpc', { method: 'POST', fields: ['content-type: application/grpc'] })),
  },
  {
    name: 'respond-grpc-web',
    rules: [
      rule({
        name: 'r',
        match: { path: { kind: 'segments', value: '/respond-grpc-web' } },
        action: { kind: 'respond', status: 503 },
      }),
    ],
    send: (port) =>
      raw(port, get('respond-grpc-web', { method: 'POST', fields: ['content-type: application/grpc-web'] })),
  },
  ...[400, 401, 403, 404, 413, 429, 500, 502, 504, 299].map((status): Case => {
    const name = `respond-grpc-${status}`
    return {
      name,
      rules: [
        rule({
          name: 'r',
          match: { path: { kind: 'segments', value: `/${name}` } },
          action: { kind: 'respond', status },
        }),
      ],
      send: (port) =>
        raw(port, get(name, { method: 'POST', fields: ['content-type: application/grpc+proto'] })),
    }
  }),
  // HTTP/2.
  takenBack('taken-back', 'stall'),
  takenBack('taken-back-early', 'silent'),
  overH2('h2-stall-timeout', 'stall', {}, undefined, { timeoutMs: 300 }),
  overH2('h2-up-stall-timeout', 'stall', {}, undefined, { timeoutMs: 300, destinations: forwardTo('h2') }),
  overH2('h2-early', 'early', {}, 'x'.repeat(100)),
  overH2('h2-none', 'none'),
  overH2('h2-nomatch', 'nomatch'),
  overH2('h2-headers', 'headers'),
  overH2(
    'h2-abort',
    'ok',
    grpc,
    'x',
    {},
    { fault: { abort: { ppm: 1_000_000, with: { kind: 'grpc', status: 7 } } } },
  ),
  overH2(
    'h2-redirect-post',
    'ok',
    {},
    'body',
    {},
    { action: { kind: 'redirect', status: 308, host: 'new.example', port: 'request' } },
  ),
  overH2(
    'h2-no-route-body',
    'ok',
    {},
    'body',
    {},
    { match: { path: { kind: 'exact', value: '/elsewhere' } } },
  ),
  overH2('h2-grpc-deadline', 'silent', { ...grpc, 'grpc-timeout': '200m' }, 'x', {
    destinations: forwardTo('h2'),
  }),
  overH2('h2-grpc-asked', 'ok', { ...grpc, 'grpc-timeout': '5S' }, 'x', { destinations: forwardTo('h2') }),
  {
    name: 'h2-two-slashes',
    rules: [ruleOf('h2-two-slashes')],
    send: (port) => h2(port, { headers: { ':path': '//h2-two-slashes', ':authority': 'web.demo' } }),
  },
  // Retries that meet something else.
  retrying('retry-codes-late', 'silent,ok', {
    on: ['retriable-status-codes'],
    statuses: [504],
    perTryTimeoutMs: 200,
  }),
  retrying('retry-reset-late', 'silent,ok', { on: ['reset'], perTryTimeoutMs: 200 }),
  retrying('retry-garbage', 'garbage,ok', { on: ['5xx'] }),
  retrying('retry-garbage-reset', 'garbage,ok', { on: ['reset'] }),
  retrying('retry-half', 'half,ok', { on: ['5xx'] }),
  simple(
    'retry-post-chunked',
    { method: 'POST', do: '503,ok', fields: ['transfer-encoding: chunked'], body: '3\r\nabc\r\n0\r\n\r\n' },
    { retry: retries({ on: ['5xx'] }) },
  ),
  simple(
    'retry-asked-per-try',
    { do: 'silent,ok', fields: [ofMesh, 'x-envoy-upstream-rq-per-try-timeout-ms: 200'] },
    { retry: retries({ on: ['5xx'] }) },
  ),
  simple(
    'retry-within',
    { do: '503,silent', fields: [] },
    { timeoutMs: 400, retry: retries({ on: ['5xx'] }) },
  ),
  simple(
    'delay-timeout',
    { do: 'silent' },
    { timeoutMs: 200 },
    { fault: { delay: { ppm: 1_000_000, delayMs: 100 } } },
  ),
  simple(
    'weights-third',
    {},
    {
      destinations: [
        {
          weight: 0,
          to: { kind: 'service', service: 'demo/dead.demo.svc.cluster.local', port: 80 },
          requestHeaders: ops,
          responseHeaders: ops,
        },
        ...forwardTo('empty'),
      ],
    },
  ),
]
