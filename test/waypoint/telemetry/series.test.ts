import { once } from 'node:events'
import * as http2 from 'node:http2'
import { connect } from 'node:net'
import t from 'tap'
import { until } from '../../fakes/until.ts'
import { listen } from '../../lib/http/support.ts'
import { type Scene, scene, tcpUpstream, upstreamOf } from '../kit.ts'

t.setTimeout(60_000)

/** The labels and the value of the one sample of a series. */
async function sampleOf(
  s: Scene,
  name: string,
): Promise<{ labels: Record<string, string>; value: number }[]> {
  const text = await s.running.waypoint.registry.metrics()
  return text.split('\n').flatMap((line) => {
    const [, inner, value] = new RegExp(`^${name}\\{(.*)\\} (\\S+)$`).exec(line) ?? []
    if (inner === undefined) return []
    const labels = Object.fromEntries(
      [...inner.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, one]) => [key, one]),
    )
    return [{ labels, value: Number(value) }]
  })
}

const client = 'spiffe://cluster.local/ns/demo/sa/client'
/** Of every series of the waypoint (facts: l7.md §4.2). */
const common = {
  reporter: 'waypoint',
  source_workload: 'client',
  source_canonical_service: 'client',
  source_canonical_revision: 'latest',
  source_workload_namespace: 'demo',
  source_principal: client,
  source_app: 'client',
  source_version: 'latest',
  source_cluster: 'Kubernetes',
  destination_workload: 'web-v2',
  destination_workload_namespace: 'demo',
  destination_principal: 'unknown',
  destination_app: 'web',
  destination_version: 'v2',
  destination_service: 'web.demo.svc.cluster.local',
  destination_canonical_service: 'web',
  destination_canonical_revision: 'v2',
  destination_service_name: 'web',
  destination_service_namespace: 'demo',
  destination_cluster: 'Kubernetes',
  connection_security_policy: 'mutual_tls',
}
const v2 = { workloadName: 'web-v2', canonicalName: 'web', canonicalRevision: 'v2' }
const ofRequests = {
  request_protocol: 'http',
  response_code: '200',
  response_flags: '-',
  grpc_response_status: '',
}

t.test('the labels of a request are exactly Istio’s', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('hello'))
  const s = await scene(t, { a: { ...a, ...v2 } })
  t.equal((await s.get('/')).status, 200)
  await until(() => s.lines().length === 1, 'a line')
  const [total, ...others] = await sampleOf(s, 'istio_requests_total')
  t.strictSame(total, { labels: { ...common, ...ofRequests }, value: 1 })
  t.strictSame(others, [])
  for (const name of ['request_duration_milliseconds', 'request_bytes', 'response_bytes']) {
    const [count] = await sampleOf(s, `istio_${name}_count`)
    t.strictSame(count, { labels: { ...common, ...ofRequests }, value: 1 }, name)
    const buckets = await sampleOf(s, `istio_${name}_bucket`)
    t.strictSame(
      buckets.map(({ labels }) => labels['le']),
      '0.5 1 5 10 25 50 100 250 500 1000 2500 5000 10000 30000 60000 300000 600000 1800000 3600000 +Inf'.split(
        ' ',
      ),
    )
  }
  t.strictSame(await sampleOf(s, 'istio_request_messages_total'), [], 'no messages without gRPC')
})

t.test('who was not asked is unknown, of what could not be read nothing is made up', async (t) => {
  const s = await scene(t, {})
  t.equal((await s.get('/')).status, 503)
  await until(() => s.lines().length === 1, 'a line')
  const [total] = await sampleOf(s, 'istio_requests_total')
  t.strictSame(total?.labels, {
    ...common,
    ...ofRequests,
    response_code: '503',
    response_flags: 'UH',
    destination_workload: 'unknown',
    destination_app: 'unknown',
    destination_version: 'unknown',
    destination_canonical_service: 'unknown',
    destination_canonical_revision: 'latest',
    destination_cluster: 'unknown',
  })
})

/** A gRPC server that answers each message with two, and says 5 in the end. */
async function grpcOrigin(t: Parameters<typeof listen>[0]) {
  const server = http2.createServer()
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => undefined)
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '5' }))
    stream.on('data', () => stream.write(Buffer.alloc(10)))
    stream.on('end', () => stream.end())
  })
  return { address: '127.0.0.1', port: await listen(t, server) }
}

t.test('the outcome of gRPC is in its trailers, and its messages count while the call goes on', async (t) => {
  const s = await scene(t, { a: { ...(await grpcOrigin(t)), ...v2 } })
  const session = http2.connect(`http://127.0.0.1:${await s.front()}`)
  t.teardown(() => session.destroy())
  const headers = { ':method': 'POST', ':path': '/shop.Cart/Add', ':authority': 'web.demo' }
  const call = session.request({ ...headers, 'content-type': 'application/grpc', te: 'trailers' })
  call.write(Buffer.alloc(5))
  await once(call, 'data')
  const request_protocol = 'grpc'
  const open = await sampleOf(s, 'istio_request_messages_total')
  t.strictSame(open, [{ labels: { ...common, request_protocol }, value: 1 }], 'the call is still open')
  const answers = await sampleOf(s, 'istio_response_messages_total')
  t.strictSame(answers, [{ labels: { ...common, request_protocol }, value: 2 }])
  t.strictSame(await sampleOf(s, 'istio_requests_total'), [], 'it is not over')
  call.end(Buffer.alloc(5))
  call.resume()
  await once(call, 'close')
  await until(() => s.lines().length === 1, 'a line')
  const [total] = await sampleOf(s, 'istio_requests_total')
  const outcome = {
    request_protocol,
    response_code: '200',
    grpc_response_status: '5',
    response_flags: '-',
  }
  t.strictSame(total, { labels: { ...common, ...outcome }, value: 1 })
  t.equal((await sampleOf(s, 'istio_request_messages_total'))[0]?.value, 2)
  t.equal((await sampleOf(s, 'istio_response_messages_total'))[0]?.value, 4)
})

for (const [name, env] of [
  ['declared', {}],
  ['found out', { PROTOCOL_DETECTION_TIMEOUT: '20ms' }],
] as const)
  t.test(`bytes of a TCP connection that is open count when somebody reads (${name})`, async (t) => {
    const a = await tcpUpstream(t, '127.0.0.2', (socket) => void socket.pipe(socket))
    const s = await scene(t, { a: { ...a, ...v2 } }, env)
    if (name === 'declared') await s.route({ protocol: 'tcp' })
    const socket = connect({ host: '127.0.0.1', port: await s.front() })
    t.teardown(() => socket.destroy())
    socket.write('\x00\x01no http')
    await once(socket, 'data', { signal: AbortSignal.timeout(20_000) })
    const labels = { ...common, request_protocol: 'tcp', response_flags: '-' }
    const is = async (series: string, value: number) =>
      t.strictSame(await sampleOf(s, `istio_tcp_${series}`), [{ labels, value }], series)
    await is('connections_opened_total', 1)
    await is('sent_bytes_total', 9)
    await is('received_bytes_total', 9)
    t.strictSame(await sampleOf(s, 'istio_tcp_connections_closed_total'), [])
    socket.write('x')
    await once(socket, 'data', { signal: AbortSignal.timeout(20_000) })
    await is('sent_bytes_total', 10)
    socket.end()
    await once(socket, 'close')
    const closed = async () => (await sampleOf(s, 'istio_tcp_connections_closed_total')).length > 0
    for (let n = 0; n < 2_000 && !(await closed()); n++) await new Promise((done) => setTimeout(done, 10))
    await is('connections_closed_total', 1)
    await is('sent_bytes_total', 10)
    await is('received_bytes_total', 10)
  })
