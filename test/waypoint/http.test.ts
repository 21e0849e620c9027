import { once } from 'node:events'
import type http from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { scene, tcpUpstream, upstreamOf } from './kit.ts'

t.test('a request goes to an endpoint and is counted and logged', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
    response.setHeader('x-saw', JSON.stringify(request.headers))
    response.setHeader('server', 'mine')
    response.end(`hello ${request.url}`)
  })
  const s = await scene(t, { a })
  const got = await s.get('/x/../hello?a=1', { headers: { 'x-forwarded-client-cert': 'By=me' } })
  t.match(got, { status: 200, body: 'hello /hello?a=1', headers: { server: 'istio-envoy' } })
  t.match(got.headers['x-envoy-upstream-service-time'], /^\d+$/)
  const saw = JSON.parse(String(got.headers['x-saw'])) as Record<string, string>
  t.match(saw, { host: 'web.demo', 'x-request-id': /^[0-9a-f-]{36}$/, 'x-envoy-attempt-count': '1' })
  t.notHas(saw, 'x-forwarded-client-cert', 'nobody is told who it is by the client')
  await eventually(() => s.lines().length === 1, 'a line of the access log')
  t.match(
    s.lines()[0],
    /^\[\d{4}-[^\]]+Z\] "GET \/hello\?a=1 HTTP\/1\.1" 200 - via_upstream - "-" 0 16 \d+ \d+ "-" "-" "[0-9a-f-]{36}" "web\.demo" "127\.0\.0\.2:\d+" inbound-vip\|80\|http\|web\.demo\.svc\.cluster\.local - 10\.96\.0\.10:80 127\.0\.0\.1:\d+ - default$/,
  )
  const metrics = await s.running.waypoint.registry.metrics()
  const series = /^istio_requests_total\{(.*)\} 1$/m.exec(metrics)?.[1] ?? ''
  for (const label of [
    'reporter="waypoint"',
    'source_workload="client"',
    'source_principal="spiffe://cluster.local/ns/demo/sa/client"',
    'destination_workload="a"',
    'destination_service="web.demo.svc.cluster.local"',
    'request_protocol="http"',
    'response_code="200"',
    'response_flags="-"',
    'connection_security_policy="mutual_tls"',
  ])
    t.ok(series.includes(label), label)
  t.match(metrics, /istio_request_duration_milliseconds_bucket\{.*le="\+Inf"\} 1/)
  t.match(metrics, /istio_response_bytes_count\{.*\} 1/)
})

t.test('a body goes both ways', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => void request.pipe(response))
  const s = await scene(t, { a })
  const body = Buffer.alloc(3 << 20, 'abcdefg')
  const got = await s.get('/', { method: 'POST', send: body })
  t.equal(got.status, 200)
  t.equal(got.body.length, body.length)
  t.ok(got.body === body.toString(), 'whole and in order')
})

t.test('nobody to send it to', async (t) => {
  const s = await scene(t, {})
  const got = await s.get('/')
  t.match(got, { status: 503, body: 'no healthy upstream', headers: { 'content-type': 'text/plain' } })
  await eventually(() => s.lines().length === 1, 'a line of the access log')
  t.match(s.lines()[0], / 503 UH no_healthy_upstream /)
})

t.test('an endpoint that refuses is passed over for another one', async (t) => {
  const { address, port, server } = await tcpUpstream(t, '127.0.0.3', () => undefined)
  server.close()
  const b = await upstreamOf(t, '127.0.0.4', (_, response) => void response.end('b'))
  const s = await scene(t, { a: { address, port }, b })
  for (let i = 0; i < 8; i++) t.match(await s.get('/'), { status: 200, body: 'b' })
})

t.test('one that refuses is passed over also while the other one has more to do', async (t) => {
  const held: http.ServerResponse[] = []
  const a = await upstreamOf(t, '127.0.0.2', ({ url }, response) => {
    if (url === '/held') held.push(response)
    else response.end('ok')
  })
  const gone = await upstreamOf(t, '127.0.0.3', () => undefined)
  gone.server.close()
  const s = await scene(t, { a, gone })
  const busy = [s.get('/held'), s.get('/held'), s.get('/held')]
  await eventually(() => held.length === busy.length, 'it has something to do')
  const statuses = []
  for (let n = 0; n < 20; n++) statuses.push((await s.get('/')).status)
  t.same(new Set(statuses), new Set([200]))
  for (const one of held) one.end()
  t.same(
    (await Promise.all(busy)).map(({ status }) => status),
    [200, 200, 200],
  )
})

t.test('nobody answers: after the retries the last failure is told', async (t) => {
  const { address, port, server } = await tcpUpstream(t, '127.0.0.3', () => undefined)
  server.close()
  const s = await scene(t, { a: { address, port } })
  const got = await s.get('/')
  t.equal(got.status, 503)
  t.match(
    got.body,
    /^upstream connect error or disconnect\/reset before headers\. retried and the latest reset reason: remote connection failure$/,
  )
  await eventually(() => s.lines().length === 1, 'a line of the access log')
  t.match(s.lines()[0], / 503 URX,UF upstream_reset_before_response_started\{remote_connection_failure/)
})

t.test('an upstream that goes before it answers', async (t) => {
  const a = await tcpUpstream(t, '127.0.0.2', (socket) => void socket.once('data', () => socket.destroy()))
  const s = await scene(t, { a })
  const got = await s.get('/')
  t.equal(got.status, 503)
  t.match(got.body, /reset reason: connection termination$/)
  await eventually(() => s.lines().length === 1, 'a line of the access log')
  t.match(s.lines()[0], / 503 UC upstream_reset_before_response_started\{connection_termination\} /)
})

t.test('what is no HTTP goes on as it is, also where the server speaks first', async (t) => {
  const a = await tcpUpstream(t, '127.0.0.2', (socket) => {
    socket.write('220 ready\r\n')
    socket.pipe(socket)
  })
  const s = await scene(t, { a }, { PROTOCOL_DETECTION_TIMEOUT: '50ms' })
  const talk = async (text: string, expected: string) => {
    const socket = connect({ host: '127.0.0.1', port: await s.front(), allowHalfOpen: true })
    const parts: string[] = []
    socket.on('data', (part: Buffer) => parts.push(part.toString('latin1')))
    const ended = once(socket, 'end')
    if (text.startsWith('QUIT')) await eventually(() => parts.join('') === '220 ready\r\n', 'the banner')
    socket.end(Buffer.from(text, 'latin1'))
    await ended
    t.equal(parts.join(''), expected)
  }
  await talk('QUIT\r\n', '220 ready\r\nQUIT\r\n')
  await talk('\x00\x01binary', '220 ready\r\n\x00\x01binary')
})

t.test('a client that speaks HTTP late is served as one all the same', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => void response.end(`late ${request.url}`))
  let connections = 0
  a.server.on('connection', () => connections++)
  const s = await scene(t, { a }, { PROTOCOL_DETECTION_TIMEOUT: '20ms' })
  const socket = connect({ host: '127.0.0.1', port: await s.front() })
  await once(socket, 'connect')
  const opened = () =>
    s.running.waypoint.registry.getSingleMetricAsString('istio_tcp_connections_opened_total')
  await eventually(() => connections > 0, 'the server has been dialled, in case that it speaks first')
  const parts: string[] = []
  socket.on('data', (part: Buffer) => parts.push(part.toString()))
  socket.write('GET /x HTTP/1.1\r\nhost: web\r\n\r\n')
  await eventually(() => parts.join('').includes('late /x'), 'the answer')
  t.match(parts.join(''), /server: istio-envoy/)
  t.notMatch(await opened(), /reporter/, 'and is no TCP connection')
  socket.destroy()
})

t.test('what nobody has is refused', async (t) => {
  const s = await scene(t, {})
  for (const [authority, why] of [
    ['10.1.2.3:80', 'an address of nobody'],
    ['10.96.0.10:81', 'a port that the service has not'],
    ['nobody.demo:80', 'a name of nobody'],
    ['127.0.0.1:15000', 'ourselves'],
  ] as const)
    await t.rejects(s.tunnel(authority), { code: 'http-status' }, why)
})
