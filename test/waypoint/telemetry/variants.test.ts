import { connect } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { type MetricName, type MetricSpec, waypointTelemetryTypeUrl } from '#telemetry'
import { until } from '../../fakes/until.ts'
import { type Scene, scene, tcpUpstream, upstreamOf, webKey } from '../kit.ts'

type Metrics = Partial<Record<MetricName, Partial<MetricSpec>>>
const whole = (metrics: Metrics) =>
  Object.fromEntries(
    Object.entries(metrics).map(([name, spec]) => [name, { disabled: false, labels: {}, ...spec }]),
  )
const tell = (s: Scene, own: Metrics, web?: Metrics) => {
  const services = web ? { [webKey]: { logs: [], metrics: whole(web) } } : {}
  const told = { version: 1, logs: [], metrics: whole(own), services }
  return s.running.push(waypointTelemetryTypeUrl, {
    'waypoint:demo/waypoint': { bytes: Buffer.from(JSON.stringify(told)) },
  })
}
const linesOf = async (s: Scene, name: string) =>
  (await s.running.waypoint.registry.metrics()).split('\n').filter((line) => line.startsWith(`${name}{`))
/** Waits until that many requests are over, by the log. */
const over = (s: Scene, count: number) => until(() => s.lines().length === count, `${count} lines`)

t.test('labels are added, changed and taken away', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
    response.statusCode = request.url === '/missing' ? 404 : 200
    response.end('hello')
  })
  const s = await scene(t, { a })
  await tell(s, {
    REQUEST_COUNT: {
      labels: {
        host: 'request.host',
        method: "request.method == 'GET' ? 'reads' : 'writes'",
        tenant: "request.headers['x-tenant']",
        response_code: null,
        source_app: "'somebody'",
      },
    },
    REQUEST_SIZE: { disabled: true },
  })
  await s.get('/a', { headers: { 'x-tenant': 'one' } })
  await s.get('/missing', { headers: { 'x-tenant': 'one' } })
  await s.get('/a')
  await over(s, 3)
  const counts = await linesOf(s, 'istio_requests_total')
  t.equal(counts.length, 2, 'by tenant, and no more by status')
  t.ok(counts.some((line) => /tenant="one".* 2$/.test(line)))
  t.ok(counts.some((line) => /tenant="unknown".* 1$/.test(line)))
  for (const line of counts) {
    t.match(line, /host="web\.demo"/)
    t.match(line, /method="reads"/)
    t.match(line, /source_app="somebody"/)
    t.notMatch(line, /response_code/)
  }
  t.strictSame(await linesOf(s, 'istio_request_bytes_count'), [], 'not told')
  const durations = await linesOf(s, 'istio_request_duration_milliseconds_count')
  t.strictSame(
    durations.map((line) => `${/response_code="(\d+)"/.exec(line)?.[1]}: ${line.split(' ').at(-1)}`).sort(),
    ['200: 2', '404: 1'],
    'others are as they were',
  )
})

t.test('histograms that have the same labels by now are one', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
    response.statusCode = request.url === '/missing' ? 404 : 200
    response.end('hello')
  })
  const s = await scene(t, { a })
  await tell(s, { RESPONSE_SIZE: { labels: { response_code: null } } })
  await s.get('/a')
  await s.get('/missing')
  await over(s, 2)
  const lines = await linesOf(s, 'istio_response_bytes_bucket')
  t.equal(lines.length, 20)
  t.match(lines.at(-1), /le="\+Inf".* 2$/)
  t.equal((await linesOf(s, 'istio_response_bytes_count')).length, 1)
})

t.test('a service may have overrides of its own, and what no longer holds changes no count', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('hello'))
  const s = await scene(t, { a })
  await s.get('/a')
  await over(s, 1)
  await tell(s, {}, { REQUEST_COUNT: { labels: { extra: "'1'" } } })
  await s.get('/a')
  await over(s, 2)
  await tell(s, {})
  await s.get('/a')
  await over(s, 3)
  const counts = await linesOf(s, 'istio_requests_total')
  t.strictSame(
    counts
      .map((line) => `${line.includes('extra="1"') ? 'extra' : 'usual'}: ${line.split(' ').at(-1)}`)
      .sort(),
    ['extra: 1', 'usual: 2'],
  )
})

t.test('of TCP what a connection has can be asked for', async (t) => {
  const a = await tcpUpstream(t, '127.0.0.2', (socket) => void socket.pipe(socket))
  const s = await scene(t, { a })
  await s.route({ protocol: 'tcp' })
  await tell(s, {
    TCP_OPENED_CONNECTIONS: {
      labels: { peer: 'connection.uri_san_peer_certificate', path: 'request.path', source_version: null },
    },
    TCP_SENT_BYTES: { disabled: true },
  })
  const socket = connect({ host: '127.0.0.1', port: await s.front() })
  socket.end('hello')
  await once(socket, 'data', { signal: AbortSignal.timeout(20_000) })
  const [line] = await linesOf(s, 'istio_tcp_connections_opened_total')
  t.match(line, /peer="spiffe:\/\/cluster\.local\/ns\/demo\/sa\/client"/)
  t.match(line, /path="unknown"/)
  t.notMatch(line, /source_version/)
  t.strictSame(await linesOf(s, 'istio_tcp_sent_bytes_total'), [])
  t.equal((await linesOf(s, 'istio_tcp_received_bytes_total')).length, 1)
  socket.destroy()
})

t.test('values that clients choose do not make series without end', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('hello'))
  const s = await scene(t, { a })
  await tell(s, { REQUEST_COUNT: { labels: { tenant: "request.headers['x-tenant']" } } })
  await s.get('/a', { headers: { 'x-tenant': 'x'.repeat(5_000) } })
  await over(s, 1)
  const [line = ''] = await linesOf(s, 'istio_requests_total')
  t.ok(line.length < 2_000, 'a value is cut')
})
