import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import {
  type Case,
  forwardTo,
  get,
  grpc,
  ofMesh,
  overH2,
  retries,
  retrying,
  ruleOf,
  simple,
} from './case-kit.ts'
import { raw } from './client.ts'

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms))
/** Sends a body in two halves. */
const slowly = (name: string, word: string, action: Parameters<typeof ruleOf>[1], ms = 500): Case => ({
  name,
  rules: [ruleOf(name, action)],
  send: async (port) => {
    // raw() sends at once; this one takes its time
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    const text = get(name, { method: 'POST', do: word, fields: ['content-length: 6'], body: 'abc' })
    return raw(port, text, undefined, async (s: Socket) => {
      await pause(ms)
      s.write('def')
    })
  },
})

export const promises: readonly Case[] = [
  {
    name: 'ws-timeout',
    rules: [ruleOf('ws-timeout', { timeoutMs: 300 })],
    send: (port) => {
      let said = false
      return raw(
        port,
        get('ws-timeout', {
          fields: [
            'connection: Upgrade',
            'upgrade: websocket',
            'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
            'sec-websocket-version: 13',
          ],
        }),
        (socket) => {
          if (said) return
          said = true
          setTimeout(() => socket.write('hi'), 900)
        },
      )
    },
  },
  {
    name: 'ws-refused',
    rules: [
      ruleOf('ws-refused', { retry: retries({ on: ['connect-failure'] }), destinations: forwardTo('dead') }),
    ],
    send: (port) =>
      raw(
        port,
        get('ws-refused', {
          fields: [
            'connection: Upgrade',
            'upgrade: websocket',
            'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
            'sec-websocket-version: 13',
          ],
        }),
      ),
  },
  slowly('slow-upload-try', 'ok', { retry: retries({ on: ['5xx'], perTryTimeoutMs: 200 }) }),
  slowly('slow-upload-route', 'ok', { timeoutMs: 200 }),
  slowly('slow-upload-dead', 'ok', {
    retry: retries({ on: ['connect-failure'] }),
    destinations: forwardTo('dead'),
  }),
  slowly(
    'slow-upload-early',
    'early',
    { retry: retries({ on: ['retriable-status-codes'], statuses: [413] }) },
    300,
  ),
  retrying('retry-overloaded', 'overloaded,ok', { on: ['5xx'] }),
  retrying('retry-limited-503', 'limited=503,ok', { on: ['5xx'] }),
  retrying('retry-limited-codes', 'limited=429,ok', { on: ['retriable-status-codes'], statuses: [429] }),
  simple('retry-headers', {
    do: 'with=x-again,ok',
    fields: [ofMesh, 'x-envoy-retry-on: retriable-headers', 'x-envoy-retriable-header-names: x-again'],
  }),
  simple('retry-headers-two', {
    do: 'with=x-again,ok',
    fields: [ofMesh, 'x-envoy-retry-on: retriable-headers', 'x-envoy-retriable-header-names: x-no , X-Again'],
  }),
  simple('retry-headers-none', {
    do: 'with=x-other,ok',
    fields: [ofMesh, 'x-envoy-retry-on: retriable-headers', 'x-envoy-retriable-header-names: x-again'],
  }),
  simple('retry-headers-only', {
    do: 'with=x-again,ok',
    fields: [ofMesh, 'x-envoy-retriable-header-names: x-again'],
  }),
  // A retry counts as long as nothing has come of it.
  {
    name: 'retry-second',
    rules: [
      ruleOf('retry-held', { destinations: forwardTo('oneretry'), retry: retries({ on: ['5xx'] }) }),
      ruleOf('retry-second', { destinations: forwardTo('oneretry'), retry: retries({ on: ['5xx'] }) }),
    ],
    send: async (port) => {
      const held = connect(port, '127.0.0.1')
      held.on('error', () => undefined)
      await once(held, 'connect')
      held.write(get('retry-held', { do: '503,silent' }))
      await pause(400)
      try {
        return await raw(port, get('retry-second', { do: '503,ok' }))
      } finally {
        held.destroy()
      }
    },
  },
  retrying('retry-no-room', '503,ok', { on: ['5xx'] }, [], 'noretry'),
  retrying('retry-no-room-dead', 'close,ok', { on: ['5xx'] }, [], 'noretry'),
  simple(
    'retry-big',
    { method: 'POST', do: '503,ok', fields: ['content-length: 2000000'], body: 'x'.repeat(2_000_000) },
    { retry: retries({ on: ['5xx'] }) },
  ),
  simple(
    'retry-fits',
    { method: 'POST', do: '503,ok', fields: ['content-length: 900000'], body: 'x'.repeat(900_000) },
    { retry: retries({ on: ['5xx'] }) },
  ),
  simple(
    'asked-both',
    { do: 'silent', fields: [ofMesh, 'x-envoy-upstream-rq-timeout-ms: 200'] },
    { timeoutMs: 5_000 },
  ),
  simple(
    'asked-zero',
    { do: 'late=400', fields: [ofMesh, 'x-envoy-upstream-rq-timeout-ms: 0'] },
    { timeoutMs: 200 },
  ),
  simple(
    'asked-odd',
    { do: 'silent', fields: [ofMesh, 'x-envoy-upstream-rq-timeout-ms: abc'] },
    { timeoutMs: 200 },
  ),
  overH2(
    'asked-grpc-on',
    'grpc=8,ok',
    { ...grpc, 'x-forwarded-for': '10.1.2.3', 'x-envoy-retry-grpc-on': 'resource-exhausted' },
    'x',
    { destinations: forwardTo('h2') },
  ),
  simple('asked-spaces', { do: '503,ok', fields: [ofMesh, 'x-envoy-retry-on: connect-failure , 5xx'] }),
  simple('asked-max-odd', {
    do: '503,503,ok',
    fields: [ofMesh, 'x-envoy-retry-on: 5xx', 'x-envoy-max-retries: many'],
  }),
  simple('asked-codes-only', { do: '404,ok', fields: [ofMesh, 'x-envoy-retriable-status-codes: 404'] }),
  simple(
    'asked-hedge',
    { do: 'silent,ok', fields: [ofMesh, 'x-envoy-hedge-on-per-try-timeout: true'] },
    { timeoutMs: 600 },
  ),
  overH2('grpc-trailers-retry', 'trailing=14,ok', grpc, 'x', {
    destinations: forwardTo('h2'),
    retry: retries({ on: ['unavailable'] }),
  }),
  overH2('grpc-headers-exhausted', 'grpc=14,grpc=14,grpc=14', grpc, 'x', {
    destinations: forwardTo('h2'),
    retry: retries({ on: ['unavailable'] }),
  }),
  overH2('grpc-plain-status', 'grpc=14,ok', {}, 'x', {
    destinations: forwardTo('h2'),
    retry: retries({ on: ['unavailable'] }),
  }),
  overH2('grpc-overflow', '503', grpc, 'x', {
    destinations: forwardTo('noretry'),
    retry: retries({ on: ['5xx'] }),
  }),
  retrying('retry-head-first', '500,ok', { on: ['5xx'] }),
  simple(
    'retry-head',
    { method: 'HEAD', do: '503,ok' },
    { retry: retries({ on: ['5xx'] }), destinations: forwardTo('fresh') },
  ),
  simple(
    'retry-continue',
    { method: 'POST', do: '503,ok', fields: ['expect: 100-continue', 'content-length: 3'], body: 'abc' },
    { retry: retries({ on: ['5xx'] }) },
  ),
  simple(
    'delay-dead',
    {},
    { destinations: forwardTo('dead') },
    { fault: { delay: { ppm: 1_000_000, delayMs: 50 } } },
  ),
  simple(
    'delay-empty',
    {},
    { destinations: forwardTo('empty') },
    { fault: { delay: { ppm: 1_000_000, delayMs: 50 } } },
  ),
  simple(
    'delay-retries',
    { do: '503,503,503' },
    { retry: retries({ on: ['5xx'] }), destinations: forwardTo('fresh') },
    { fault: { delay: { ppm: 1_000_000, delayMs: 50 } } },
  ),
  {
    name: 'delay-gone',
    rules: [ruleOf('delay-gone', {}, { fault: { delay: { ppm: 1_000_000, delayMs: 600 } } })],
    send: async (port) => {
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      socket.write(get('delay-gone'))
      await pause(200)
      socket.destroy()
      return { status: 0, interim: [], headers: {}, body: '', trailers: '', end: 'closed' }
    },
  },
  {
    name: 'upload-gone',
    rules: [ruleOf('upload-gone')],
    send: async (port) => {
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      socket.write(get('upload-gone', { method: 'POST', fields: ['content-length: 6'], body: 'abc' }))
      await pause(200)
      socket.destroy()
      return { status: 0, interim: [], headers: {}, body: '', trailers: '', end: 'closed' }
    },
  },
  simple(
    'retry-then-reset',
    { do: '503,reset' },
    { retry: retries({ on: ['5xx'], attempts: 1 }), destinations: forwardTo('fresh') },
  ),
  simple(
    'retry-then-timeout',
    { do: '503,silent' },
    { timeoutMs: 400, retry: retries({ on: ['5xx'], attempts: 1 }), destinations: forwardTo('fresh') },
  ),
  simple(
    'retry-per-try-body',
    { method: 'POST', do: 'silent,ok', fields: ['content-length: 4'], body: 'body' },
    { retry: retries({ on: ['5xx'], perTryTimeoutMs: 200 }), destinations: forwardTo('fresh') },
  ),
  simple(
    'per-try-stall',
    { do: 'stall-end=500' },
    { retry: retries({ on: ['5xx'], perTryTimeoutMs: 200 }), destinations: forwardTo('fresh') },
  ),
  simple(
    'retry-rewrite',
    { path: '/a', do: '503,ok' },
    {
      retry: retries({ on: ['5xx'] }),
      destinations: forwardTo('fresh'),
      rewrite: { authority: 'other.example', path: { kind: 'prefix', value: '/x' } },
    },
  ),
]
