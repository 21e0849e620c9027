import { type Case, forwardTo, ruleOf, get, asIs, overH2, grpc, sendHi, big } from './case-kit.ts'
import { raw } from './client.ts'

export const messages: readonly Case[] = [
  // Requests that are odd.
  asIs('too-many-bytes', get('too-many-bytes', { fields: [`x-big: ${big}`] })),
  asIs(
    'too-many-fields',
    get('too-many-fields', { fields: Array.from({ length: 120 }, (_, i) => `x-${i}: 1`) }),
  ),
  asIs('no-host', 'GET /no-host HTTP/1.1\r\nx-case: no-host\r\n\r\n'),
  asIs('two-hosts', 'GET /two-hosts HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n'),
  asIs('bad-line', 'GET /bad-line HTTP/1.1 extra\r\nhost: a\r\n\r\n'),
  asIs('bad-field', 'GET /bad-field HTTP/1.1\r\nhost: a\r\nbad field: x\r\n\r\n'),
  asIs(
    'two-lengths',
    'POST /two-lengths HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab',
  ),
  asIs(
    'length-and-chunks',
    'POST /length-and-chunks HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  ),
  asIs(
    'bad-chunk',
    'POST /bad-chunk HTTP/1.1\r\nhost: a\r\nx-case: bad-chunk\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n',
  ),
  asIs('http10', 'GET /http10 HTTP/1.0\r\nhost: web.demo\r\n\r\n'),
  asIs('absolute', 'GET http://web.demo/absolute?x=1 HTTP/1.1\r\nhost: web.demo\r\nx-case: absolute\r\n\r\n'),
  asIs('connect', 'CONNECT web.demo:80 HTTP/1.1\r\nhost: web.demo:80\r\n\r\n'),
  asIs('upgrade-odd', get('upgrade-odd', { fields: ['connection: upgrade', 'upgrade: foo'] })),
  asIs(
    'hop-by-hop',
    get('hop-by-hop', {
      fields: [
        'connection: x-hop',
        'x-hop: 1',
        'keep-alive: 5',
        'proxy-connection: keep-alive',
        'te: trailers, deflate',
        'trailer: x',
      ],
    }),
  ),
  asIs('te', get('te', { fields: ['te: trailers'] })),
  asIs('close', get('close', { fields: ['connection: close'] })),
  asIs('options-star', 'OPTIONS * HTTP/1.1\r\nhost: web.demo\r\nx-case: options-star\r\n\r\n'),
  asIs(
    'forged',
    get('forged', {
      fields: [
        'x-forwarded-client-cert: By=me',
        'x-envoy-internal: true',
        'x-envoy-attempt-count: 7',
        'x-envoy-expected-rq-timeout-ms: 5',
        'x-envoy-original-path: /forged',
        'x-envoy-decorator-operation: op',
        'x-envoy-external-address: 1.2.3.4',
        'x-envoy-peer-metadata: x',
        'x-envoy-force-trace: 1',
        'x-envoy-is-timeout-retry: true',
        'x-envoy-ip-tags: a',
        'x-envoy-original-host: h',
      ],
    }),
  ),
  asIs(
    'forwarded',
    get('forwarded', {
      fields: [
        'x-forwarded-for: 1.2.3.4',
        'x-forwarded-proto: https',
        'x-forwarded-host: a',
        'x-request-id: mine',
        'forwarded: for=1',
      ],
    }),
  ),
  asIs('forwarded-odd', get('forwarded-odd', { fields: ['x-forwarded-proto: ftp'] })),
  ...[
    '/a/../b',
    '/a//b',
    '/%41%2fb',
    '/a%2Fb%5cc',
    '/a\\b',
    '/./a',
    '/a/.',
    '/a/..',
    '/%2e%2e/b',
    '/a;b',
    '/a%zz',
    '/a%00',
    '/a?x=/../b',
    '/a#frag',
    '/%7e',
    '/%e2%82%ac',
    '/a%20b',
    '/a%3f',
  ].map(
    (path, i): Case => ({
      name: `path${i}`,
      rules: [ruleOf(`path${i}`)],
      send: (port) => raw(port, get(`path${i}`, { path })),
    }),
  ),
  {
    name: 'websocket',
    rules: [ruleOf('websocket')],
    send: (port) =>
      raw(
        port,
        get('websocket', {
          fields: [
            'connection: Upgrade',
            'upgrade: websocket',
            'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
            'sec-websocket-version: 13',
          ],
        }),
        sendHi(),
      ),
  },
  asIs(
    'continue',
    get('continue', { method: 'POST', fields: ['expect: 100-continue', 'content-length: 3'], body: 'abc' }),
  ),
  asIs(
    'continue-refused',
    get('continue-refused', {
      method: 'POST',
      do: 'refuse-continue',
      fields: ['expect: 100-continue', 'content-length: 3'],
    }),
  ),
  asIs('hints', get('hints', { do: 'hints' })),
  asIs(
    'chunked',
    get('chunked', {
      method: 'POST',
      fields: ['transfer-encoding: chunked', 'trailer: x-t'],
      body: '3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n',
    }),
  ),
  asIs('early', get('early', { method: 'POST', do: 'early', fields: ['content-length: 3'], body: 'abc' })),
  asIs('trailers-h1', get('trailers-h1', { do: 'trailers' })),
  asIs('trailers-h1-te', get('trailers-h1-te', { do: 'trailers', fields: ['te: trailers'] })),
  asIs('none', get('none', { do: 'none' })),
  asIs('not-modified', get('not-modified', { do: 'nomatch' })),
  asIs('head', get('head', { method: 'HEAD' })),
  asIs('big-answer', get('big-answer', { do: 'big' })),
  overH2('over-h2', 'ok', { cookie: 'a=1' }),
  overH2('over-h2-body', 'ok', {}, 'a body'),
  overH2('h2-trailers', 'trailers', {}, 'x', { destinations: forwardTo('h2') }),
  overH2('h2-to-h1-trailers', 'trailers', {}, 'x'),
  overH2('h2-grpc-status', 'grpc=5', grpc, 'x', { destinations: forwardTo('h2') }),
  overH2('h2-grpc-empty', 'ok', grpc, 'x', { destinations: forwardTo('empty') }),
  overH2('h2-grpc-dead', 'ok', grpc, 'x', { destinations: forwardTo('dead') }),
  overH2('h2-grpc-closed', 'close', grpc, 'x', { destinations: forwardTo('h2') }),
  overH2('h2-grpc-503', '503', grpc, 'x', { destinations: forwardTo('h2') }),
  overH2('h2-grpc-timeout', 'silent', { ...grpc, 'grpc-timeout': '100m' }, 'x', {
    destinations: forwardTo('h2'),
    timeoutMs: 300,
  }),
  overH2('h2-no-authority-slash', 'ok', { ':path': '/h2-no-authority-slash/../x' }),
]
