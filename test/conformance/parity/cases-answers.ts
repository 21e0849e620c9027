import { type Case, forwardTo, retries, ruleOf, get, simple, overH2, b64, ofMesh } from './case-kit.ts'
import { raw } from './client.ts'
import { rule } from '../../waypoint/kit.ts'

export const answers: readonly Case[] = [
  simple('plain', { fields: ['User-Agent: me', 'X-Odd: a', 'x-odd: b', 'cookie: a=1', 'cookie: b=2'] }),
  { name: 'no-route', rules: [], send: (port) => raw(port, get('no-route')) },
  {
    name: 'no-route-post',
    rules: [],
    send: (port) =>
      raw(port, get('no-route-post', { method: 'POST', fields: ['content-length: 3'], body: 'abc' })),
  },
  {
    name: 'no-route-grpc',
    rules: [],
    send: (port) =>
      raw(port, get('no-route-grpc', { method: 'POST', fields: ['content-type: application/grpc'] })),
  },
  simple('empty', {}, { destinations: forwardTo('empty') }),
  simple('empty-head', { method: 'HEAD' }, { destinations: forwardTo('empty') }),
  simple(
    'empty-grpc',
    { method: 'POST', fields: ['content-type: application/grpc', 'content-length: 0'] },
    { destinations: forwardTo('empty') },
  ),
  simple('dead', {}, { destinations: forwardTo('dead') }),
  simple(
    'dead-retried',
    {},
    { destinations: forwardTo('dead'), retry: retries({ on: ['connect-failure'] }) },
  ),
  simple('closed', { do: 'close' }, { destinations: forwardTo('fresh') }),
  {
    name: 'closed-kept',
    rules: [ruleOf('closed-kept')],
    send: async (port) => {
      await raw(port, get('plain'))
      return raw(port, get('closed-kept', { do: 'close' }))
    },
  },
  simple('rst', { do: 'reset' }, { destinations: forwardTo('fresh') }),
  simple('h2-reset', { do: 'reset' }, { destinations: forwardTo('h2') }),
  simple('h2-refused', { do: 'refuse' }, { destinations: forwardTo('h2') }),
  simple('h2-closed', { do: 'close' }, { destinations: forwardTo('h2') }),
  simple('timeout', { do: 'silent' }, { timeoutMs: 300 }),
  simple('timeout-stalled', { do: 'stall' }, { timeoutMs: 300 }),
  simple('per-try', { do: 'silent' }, { retry: retries({ on: ['connect-failure'], perTryTimeoutMs: 200 }) }),
  simple(
    'per-try-5xx',
    { do: 'silent' },
    { retry: retries({ on: ['5xx'], attempts: 1, perTryTimeoutMs: 200 }) },
  ),
  simple(
    'per-try-then-ok',
    { do: 'silent,ok' },
    { retry: retries({ on: ['5xx'], attempts: 1, perTryTimeoutMs: 300 }) },
  ),
  simple(
    'per-try-and-route',
    { do: 'silent' },
    { timeoutMs: 300, retry: retries({ on: ['5xx'], attempts: 5, perTryTimeoutMs: 200 }) },
  ),
  simple('asked-timeout', { do: 'silent', fields: [ofMesh, 'x-envoy-upstream-rq-timeout-ms: 200'] }, {}),
  simple(
    'alt-timeout',
    { do: 'silent', fields: [ofMesh, 'x-envoy-upstream-rq-timeout-alt-response: 1'] },
    { timeoutMs: 200 },
  ),
  simple(
    'timeout-grpc',
    { do: 'silent', method: 'POST', fields: ['content-type: application/grpc', 'content-length: 0'] },
    { timeoutMs: 200 },
  ),
  simple('garbage', { do: 'garbage' }),
  simple('half', { do: 'half' }),
  overH2('half-h2', 'half'),
  simple('half-chunked', { do: 'half-chunked' }),
  overH2('half-h2-up', 'half', {}, undefined, { destinations: forwardTo('h2') }),
  simple('abort', {}, {}, { fault: { abort: { ppm: 1_000_000, with: { kind: 'http', status: 418 } } } }),
  simple('abort-grpc', {}, {}, { fault: { abort: { ppm: 1_000_000, with: { kind: 'grpc', status: 14 } } } }),
  simple(
    'abort-grpc-call',
    { method: 'POST', fields: ['content-type: application/grpc'] },
    {},
    { fault: { abort: { ppm: 1_000_000, with: { kind: 'grpc', status: 14 } } } },
  ),
  simple(
    'abort-to-grpc',
    { method: 'POST', fields: ['content-type: application/grpc'] },
    {},
    { fault: { abort: { ppm: 1_000_000, with: { kind: 'http', status: 503 } } } },
  ),
  simple('delay', {}, {}, { fault: { delay: { ppm: 1_000_000, delayMs: 100 } } }),
  simple(
    'delay-abort',
    {},
    {},
    {
      fault: {
        delay: { ppm: 1_000_000, delayMs: 50 },
        abort: { ppm: 1_000_000, with: { kind: 'http', status: 500 } },
      },
    },
  ),
  {
    name: 'respond',
    rules: [
      rule({
        name: 'r-respond',
        match: { path: { kind: 'segments', value: '/respond' } },
        action: { kind: 'respond', status: 299, body: b64('hello') },
      }),
    ],
    send: (port) => raw(port, get('respond')),
  },
  {
    name: 'respond-empty',
    rules: [
      rule({
        name: 'r-respond-empty',
        match: { path: { kind: 'segments', value: '/respond-empty' } },
        action: { kind: 'respond', status: 204 },
      }),
    ],
    send: (port) => raw(port, get('respond-empty')),
  },
  ...(
    [
      ['redirect', { kind: 'redirect', status: 301, port: 'request' }, ''],
      ['redirect-host', { kind: 'redirect', status: 302, host: 'new.example', port: 'request' }, '/a?b=c'],
      ['redirect-scheme', { kind: 'redirect', status: 307, scheme: 'https', port: 'scheme' }, '/a?b=c'],
      ['redirect-port', { kind: 'redirect', status: 308, port: 8443 }, ''],
      [
        'redirect-path',
        { kind: 'redirect', status: 303, port: 'request', path: { kind: 'full', value: '/new' } },
        '/a?b=c',
      ],
      [
        'redirect-prefix',
        { kind: 'redirect', status: 301, port: 'request', path: { kind: 'prefix', value: '/new' } },
        '/a?b=c',
      ],
    ] as const
  ).map(
    ([name, action, path]): Case => ({
      name,
      rules: [rule({ name: `r-${name}`, match: { path: { kind: 'segments', value: `/${name}` } }, action })],
      send: (port) => raw(port, get(name, { path })),
    }),
  ),
  simple(
    'rewrite',
    { path: '/a?b=c' },
    { rewrite: { authority: 'other.example', path: { kind: 'prefix', value: '/x' } } },
  ),
  simple(
    'header-ops',
    { fields: ['x-gone: 1', 'x-set: old', 'x-add: old'] },
    {},
    {
      requestHeaders: {
        set: [{ name: 'x-set', value: 'new' }],
        add: [{ name: 'x-add', value: 'new' }],
        remove: ['x-gone'],
      },
      responseHeaders: {
        set: [{ name: 'x-answer', value: 'set' }],
        add: [{ name: 'x-more', value: 'added' }],
        remove: [],
      },
    },
  ),
  simple('answers-headers', { do: 'headers' }),
]
