import { type Case, retries, simple, retrying, ofMesh } from './case-kit.ts'

export const retryCases: readonly Case[] = [
  // Retries.
  retrying('retry-5xx', '500,503,ok', { on: ['5xx'] }),
  retrying('retry-5xx-out', '500,503,501,ok', { on: ['5xx'] }),
  retrying('retry-gateway', '502,503,ok', { on: ['gateway-error'] }),
  retrying('retry-gateway-500', '500,ok', { on: ['gateway-error'] }),
  retrying('retry-gateway-close', 'close,ok', { on: ['gateway-error'] }),
  retrying('retry-reset', 'close,ok', { on: ['reset'] }),
  retrying('retry-reset-rst', 'reset,ok', { on: ['reset'] }),
  retrying('retry-reset-5xx', '503,ok', { on: ['reset'] }),
  retrying('retry-reset-dead', 'ok', { on: ['reset'] }, [], 'dead'),
  retrying('retry-before', 'close,ok', { on: ['reset-before-request'] }),
  retrying('retry-before-dead', 'ok', { on: ['reset-before-request'] }, [], 'dead'),
  retrying('retry-5xx-dead', 'ok', { on: ['5xx'] }, [], 'dead'),
  retrying('retry-none-dead', 'ok', { on: ['retriable-4xx'] }, [], 'dead'),
  retrying('retry-before-refused', 'refuse,ok', { on: ['reset-before-request'] }, [], 'h2'),
  retrying('retry-connect', 'close,ok', { on: ['connect-failure'] }),
  retrying('retry-4xx', '409,ok', { on: ['retriable-4xx'] }),
  retrying('retry-4xx-404', '404,ok', { on: ['retriable-4xx'] }),
  retrying('retry-refused', 'refuse,ok', { on: ['refused-stream'] }, [], 'h2'),
  retrying('retry-refused-reset', 'reset,ok', { on: ['refused-stream'] }, [], 'h2'),
  retrying('retry-refused-by-reset', 'refuse,ok', { on: ['reset'] }, [], 'h2'),
  retrying('retry-codes', '418,404,ok', { on: ['retriable-status-codes'], statuses: [404, 418] }),
  retrying('retry-codes-other', '417,ok', { on: ['retriable-status-codes'], statuses: [404, 418] }),
  retrying('retry-ratelimited', 'ratelimited,ok', { on: ['envoy-ratelimited'] }),
  retrying('retry-ratelimited-no', '429,ok', { on: ['envoy-ratelimited'] }),
  ...(
    [
      ['cancelled', 1],
      ['deadline-exceeded', 4],
      ['resource-exhausted', 8],
      ['internal', 13],
      ['unavailable', 14],
    ] as const
  ).map(([on, code]) =>
    retrying(
      `retry-grpc-${on}`,
      `grpc=${code},grpc=${code === 14 ? 13 : 14},ok`,
      { on: [on] },
      ['content-type: application/grpc'],
      'h2',
    ),
  ),
  retrying('retry-asked', '503,ok', { on: ['connect-failure'] }, [
    ofMesh,
    'x-envoy-retry-on: 5xx',
    'x-envoy-max-retries: 1',
  ]),
  retrying('retry-asked-none', '503,ok', { on: ['5xx'] }, [ofMesh, 'x-envoy-max-retries: 0']),
  retrying('retry-asked-codes', '404,ok', { on: ['connect-failure'] }, [
    ofMesh,
    'x-envoy-retry-on: retriable-status-codes',
    'x-envoy-retriable-status-codes: 404',
  ]),
  simple('retry-asked-nothing-set', { do: '503,ok', fields: [ofMesh, 'x-envoy-retry-on: 5xx'] }),
  simple('retry-asked-max-only', {
    do: '503,503,503,503,503',
    fields: [ofMesh, 'x-envoy-max-retries: 3', 'x-envoy-retry-on: gateway-error'],
  }),
  simple(
    'retry-body',
    { method: 'POST', do: '503,ok', fields: ['content-length: 4'], body: 'body' },
    { retry: retries({ on: ['5xx'] }) },
  ),
  simple('retry-asked-header', {
    do: 'ratelimited,ok',
    fields: [
      ofMesh,
      'x-envoy-retry-on: retriable-headers',
      'x-envoy-retriable-header-names: x-envoy-ratelimited',
    ],
  }),
]
