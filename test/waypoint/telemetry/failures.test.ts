/** However a request ends, its one series says how, and whose it was: a row per failure. */
import { EventEmitter, once } from 'node:events'
import type http from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import type { Forward, HttpRule, RetryPolicy } from '#routes'
import { addressTypeUrl } from '#wire'
import { serviceResource, workloadResource } from '../../fakes/mesh.ts'
import { until } from '../../fakes/until.ts'
import { noOps, noRetries, policyOf, rule, type Scene, scene, tcpUpstream, upstreamOf } from '../kit.ts'

t.setTimeout(60_000)

const keyOf = (name: string) => `demo/${name}.demo.svc.cluster.local`
const to = (name: string) => ({ kind: 'service', service: keyOf(name), port: 80 }) as const
const ruleFor = (path: string, name: string, action: Partial<Forward> = {}, given: Partial<HttpRule> = {}) =>
  rule(
    { name: path, match: { path: { kind: 'exact', value: `/${path}` } }, ...given },
    { destinations: [{ weight: 1, to: to(name), requestHeaders: noOps, responseHeaders: noOps }], ...action },
  )
const retry: RetryPolicy = { ...noRetries, attempts: 1, on: ['5xx'], backoffBaseMs: 1, backoffMaxMs: 1 }
const nobody = (status: number, flag?: 'NC') => ({
  destinations: [
    {
      weight: 1,
      to: { kind: 'invalid', status, reason: 'test', ...(flag ? { flag } : {}) } as const,
      requestHeaders: noOps,
      responseHeaders: noOps,
    },
  ],
})
const always = 1_000_000
const http418 = { ppm: always, with: { kind: 'http', status: 418 } } as const
const delay = { ppm: always, delayMs: 1 }

const rules: readonly HttpRule[] = [
  ruleFor('ok', 'web'),
  ruleFor('empty', 'empty'),
  ruleFor('dead', 'dead'),
  ruleFor('close', 'web'),
  ruleFor('503', 'web'),
  ruleFor('late', 'web', { timeoutMs: 50 }),
  ruleFor('late-try', 'web', { retry: { ...retry, on: ['reset-before-request'], perTryTimeoutMs: 50 } }),
  ruleFor('retried', 'web', { retry }),
  ruleFor('out', 'web', { retry }),
  ruleFor('full', 'full'),
  ruleFor('no-cluster', 'web', nobody(503, 'NC')),
  ruleFor('no-backend', 'web', nobody(500)),
  ruleFor('abort', 'empty', {}, { fault: { abort: http418 } }),
  ruleFor('delay-abort', 'empty', {}, { fault: { delay, abort: http418 } }),
  ruleFor('delay-empty', 'empty', {}, { fault: { delay } }),
  ruleFor('mirrored', 'web', { mirrors: [{ to: to('web'), ppm: always }] }),
  ruleFor('silent', 'web'),
  ruleFor('cut', 'web'),
]
/** Tells of requests that are not answered. */
const origin = new EventEmitter()
const answer = (request: http.IncomingMessage, response: http.ServerResponse): void => {
  const isFirst = request.headers['x-envoy-attempt-count'] === '1'
  const answers: Readonly<Record<string, () => unknown>> = {
    '/close': () => request.socket.destroy(),
    '/late': () => undefined,
    '/late-try': () => undefined,
    '/silent': () => origin.emit('silent'),
    '/503': () => response.writeHead(503).end('no'),
    '/retried': () => (isFirst ? response.writeHead(503).end('x'.repeat(40_000)) : response.end('ok')),
    '/out': () => response.writeHead(503).end('no'),
    '/cut': () => {
      response.writeHead(200, { 'content-length': '10' }).write('half')
      setTimeout(() => request.socket.destroy(), 20)
    },
  }
  ;(answers[request.url ?? ''] ?? (() => response.end('ok')))()
}

t.test('a connection is told of as one to the service that it was routed to', async (t) => {
  const s = await scene(t, {})
  const other = await tcpUpstream(t, '127.0.0.2', (socket) => void socket.end('hello'))
  await s.running.push(addressTypeUrl, {
    ...serviceResource({ name: 'other', ports: { 81: 81 } }),
    ...workloadResource({
      name: 'other-1',
      node: 'n2',
      addresses: [other.address],
      tunnelProtocol: 0,
      services: { [keyOf('other')]: { 81: other.port } },
    }),
  })
  const destination = { kind: 'service', service: keyOf('other'), port: 81, subset: 'v2' } as const
  const l4 = { name: 'r', origin: rule().origin, match: {}, destinations: [{ weight: 1, to: destination }] }
  await s.route({ protocol: 'tcp', l4: [l4] }, [policyOf({ destination })])
  const socket = connect(await s.front(), '127.0.0.1')
  socket.resume()
  await new Promise((done) => socket.once('close', done))
  await until(() => s.lines().length === 1, 'a line')
  const [line = ''] = s.lines()
  t.ok(line.includes(' inbound-vip|81|tcp/v2|other.demo.svc.cluster.local '), line)
  const opened = [...(await samplesOf(s, 'istio_tcp_connections_opened_total')).keys()]
  t.equal(opened.length, 1)
  t.match(opened[0], 'destination_service_name="other"')
  t.match(opened[0], 'destination_service="other.demo.svc.cluster.local"')
})

async function samplesOf(s: Scene, name: string): Promise<ReadonlyMap<string, number>> {
  const text = await s.running.waypoint.registry.metrics()
  return new Map(
    [...text.matchAll(new RegExp(`^${name}\\{(.*)\\} (\\S+)$`, 'gm'))].map(([, a, b]) => [
      a ?? '',
      Number(b),
    ]),
  )
}

const labels = [
  'response_code',
  'response_flags',
  'grpc_response_status',
  'destination_service_name',
  'destination_workload',
  'destination_workload_namespace',
]

/** What has been counted since, one series in all: its labels and its values. */
async function counted(s: Scene, before: ReadonlyMap<string, number>): Promise<string> {
  const now = await samplesOf(s, 'istio_requests_total')
  const changed = [...now].filter(([key, value]) => value !== before.get(key))
  return changed
    .map(([key, value]) => {
      const named = new Map(
        [...key.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', text = '']) => [name, text]),
      )
      const times = value - (before.get(key) ?? 0)
      const told = labels.map((name) => named.get(name) || "''").join(' ')
      return `${times === 1 ? '' : `${times} times `}${told}`
    })
    .join(' & ')
}

const grpc = { 'content-type': 'application/grpc', te: 'trailers' }
const ask =
  (path: string, headers: http.OutgoingHttpHeaders = {}) =>
  (s: Scene) =>
    s.get(path, { headers }).catch(() => undefined)
/** Text of a client that leaves after this. */
const says = (text: string, event: 'data' | 'close' | 'asked') => async (s: Scene) => {
  const socket = connect(await s.front(), '127.0.0.1')
  socket.on('error', () => undefined)
  socket.resume()
  await once(socket, 'connect')
  const over = new Promise((done) =>
    event === 'asked' ? origin.once('silent', done) : socket.once(event, done),
  )
  socket.write(text)
  await over
  socket.destroy()
}

const cases: readonly [title: string, send: (s: Scene) => Promise<unknown>, told: string, details: string][] =
  [
    ['an answer', ask('/ok'), "200 - '' web web-v1 demo", 'via_upstream'],
    ['nobody is there', ask('/empty'), "503 UH '' empty unknown demo", 'no_healthy_upstream'],
    ['nobody is there, for gRPC', ask('/empty', grpc), '200 UH 14 empty unknown demo', 'no_healthy_upstream'],
    [
      'nobody listens',
      ask('/dead'),
      "503 UF '' dead dead-v1 demo",
      'upstream_reset_before_response_started{remote_connection_failure',
    ],
    [
      'a connection that ends',
      ask('/close'),
      "503 UC '' web web-v1 demo",
      'upstream_reset_before_response_started{connection_termination}',
    ],
    [
      'an answer that breaks off',
      says('GET /cut HTTP/1.1\r\nhost: web.demo\r\n\r\n', 'close'),
      "200 UPE '' web web-v1 demo",
      'upstream_reset_after_response_started{protocol_error}',
    ],
    ['a failure of HTTP, for gRPC', ask('/503', grpc), '503 - 14 web web-v1 demo', 'via_upstream'],
    ['no time left', ask('/late'), "504 UT '' web web-v1 demo", 'response_timeout'],
    ['no time left for a try', ask('/late-try'), "504 UT '' web web-v1 demo", 'upstream_per_try_timeout'],
    ['no time left, for gRPC', ask('/late', grpc), '200 UT 14 web web-v1 demo', 'response_timeout'],
    ['a retry', ask('/retried'), "200 - '' web web-v1 demo", 'via_upstream'],
    ['no tries left', ask('/out'), "503 URX '' web web-v1 demo", 'via_upstream'],
    [
      'no room',
      ask('/full'),
      "503 UO '' full unknown demo",
      'upstream_reset_before_response_started{overflow}',
    ],
    ['no such cluster', ask('/no-cluster'), "503 NC '' web unknown demo", 'cluster_not_found'],
    ['no such backend', ask('/no-backend'), "500 - '' web unknown demo", 'direct_response'],
    ['no rule', ask('/elsewhere'), "404 NR '' web unknown demo", 'route_not_found'],
    ['a fault', ask('/abort'), "418 FI '' empty unknown demo", 'fault_filter_abort'],
    ['a fault and a delay', ask('/delay-abort'), "418 DI,FI '' empty unknown demo", 'fault_filter_abort'],
    [
      'a delay and nobody there',
      ask('/delay-empty'),
      "503 DI,UH '' empty unknown demo",
      'no_healthy_upstream',
    ],
    ['a copy is not told of', ask('/mirrored'), "200 - '' web web-v1 demo", 'via_upstream'],
    [
      'a client that leaves',
      says('GET /silent HTTP/1.1\r\nhost: web.demo\r\n\r\n', 'asked'),
      "0 DC '' web web-v1 demo",
      'downstream_remote_disconnect',
    ],
    [
      'what is no request',
      says('GET / HTTP/1.1\r\nhost web\r\n\r\n', 'data'),
      "400 DPE '' web unknown demo",
      'http1.codec_error',
    ],
  ]

t.test('how a request ends', async (t) => {
  const s = await scene(t, {})
  const web = await upstreamOf(t, '127.0.0.2', answer)
  const gone = await upstreamOf(t, '127.0.0.2', answer)
  gone.server.close()
  const resources = { web, empty: undefined, dead: gone, full: web }
  for (const [name, at] of Object.entries(resources)) {
    const vip = name === 'web' ? { vips: ['10.96.0.10'], waypoint: '127.0.0.1' } : {}
    await s.running.push(addressTypeUrl, {
      ...serviceResource({ name, ports: { 80: 80 }, ...vip }),
      ...(at
        ? workloadResource({
            name: `${name}-1`,
            workloadName: `${name}-v1`,
            node: 'n2',
            addresses: [at.address],
            tunnelProtocol: 0,
            services: { [keyOf(name)]: { 80: at.port } },
          })
        : {}),
    })
  }
  const full = { ...policyOf({}).connections, maxRequests: 0 }
  await s.route({ protocol: 'http', http: rules }, [
    policyOf({}),
    policyOf({ destination: to('empty') }),
    policyOf({ destination: to('dead') }),
    policyOf({ destination: to('full'), connections: full }),
  ])
  for (const [title, send, told, details] of cases) {
    const [before, lines] = [await samplesOf(s, 'istio_requests_total'), s.lines().length]
    await send(s)
    await until(() => s.lines().length > lines, title)
    t.equal(await counted(s, before), told, title)
    t.ok(s.lines()[lines]?.includes(` ${details}`), `${title}: ${s.lines()[lines]}`)
    t.equal(s.lines().length, lines + 1, 'one line')
  }
  await t.test('what failed tries were sent is not the client’s', async (t) => {
    const sums = async (name: string) =>
      [...(await samplesOf(s, `istio_${name}_sum`)).values()].reduce((a, b) => a + b, 0)
    const before = await sums('response_bytes')
    const lines = s.lines().length
    await s.get('/retried')
    await until(() => s.lines().length > lines, 'a line')
    t.ok((await sums('response_bytes')) - before < 1_000, `${(await sums('response_bytes')) - before}`)
  })
})
