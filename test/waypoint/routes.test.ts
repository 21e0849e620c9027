import http from 'node:http'
import t from 'tap'
import { serviceRoutesTypeUrl } from '#routes'
import { eventually } from '../fakes/mesh-world.ts'
import { noOps, noRetries, policyOf, rule, scene, toWeb, upstreamOf, webKey } from './kit.ts'

const hello: http.RequestListener = (request, response) => {
  response.setHeader('x-saw', JSON.stringify({ ...request.headers, ':path': request.url }))
  response.end('hello')
}
const saw = (headers: http.IncomingHttpHeaders) =>
  JSON.parse(String(headers['x-saw'])) as Record<string, string>

t.test('no rule matches', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', hello)
  const s = await scene(t, { a })
  await s.route({ http: [rule({ match: { path: { kind: 'exact', value: '/here' } } })] })
  t.equal((await s.get('/here')).status, 200)
  t.match(await s.get('/there'), { status: 404, body: '' })
  await eventually(() => s.lines().length === 2, 'both are logged')
  t.match(s.lines()[1], / 404 NR route_not_found /)
})

t.test('headers and paths are changed as the rule says', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', hello)
  const s = await scene(t, { a })
  await s.route({
    http: [
      rule(
        {
          match: { path: { kind: 'segments', value: '/old' } },
          requestHeaders: {
            set: [{ name: 'x-set', value: 'by the rule' }],
            add: [{ name: 'x-from', value: '%DOWNSTREAM_PEER_URI_SAN%', template: true }],
            remove: ['x-gone'],
          },
          responseHeaders: { ...noOps, set: [{ name: 'x-answer', value: 'yes' }] },
        },
        { rewrite: { path: { kind: 'prefix', value: '/new' }, authority: 'other.demo' } },
      ),
    ],
  })
  const got = await s.get('/old/x?q', { headers: { 'x-gone': '1', 'x-set': '2' } })
  t.equal(got.headers['x-answer'], 'yes')
  const seen = saw(got.headers)
  t.match(seen, {
    ':path': '/new/x?q',
    host: 'other.demo',
    'x-set': 'by the rule',
    'x-from': 'spiffe://cluster.local/ns/demo/sa/client',
    'x-envoy-original-path': '/old/x?q',
  })
  t.notHas(seen, 'x-gone')
})

t.test('values of headers tell of the request as it came, and of the answer as it goes', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.writeHead(201).end('made'))
  const s = await scene(t, { a })
  const template = (name: string, value: string) => ({ name, value, template: true })
  const all = [
    template('x-host', '%REQ(:AUTHORITY)% %REQ(:PATH)%'),
    template('x-code', '%RESPONSE_CODE% %RESPONSE_FLAGS%'),
    template('x-began', '%START_TIME(%Y)%'),
    template('x-cut', '%REQ(x-sent):3%!'),
    template('x-part', 'of <%REQ(x-none)%>'),
    template('x-none', '%REQ(x-none)%'),
    template('x-odd', '%NO_SUCH_THING%'),
    template('x-upstream', '%UPSTREAM_HOST%'),
  ]
  await s.route({
    http: [
      rule(
        { responseHeaders: { ...noOps, set: all } },
        { rewrite: { path: { kind: 'prefix', value: '/new' }, authority: 'other.demo' } },
      ),
    ],
  })
  const { headers } = await s.get('/old?q', { headers: { host: 'web.demo', 'x-sent': 'abcdef' } })
  t.match(headers, { 'x-code': '201 -', 'x-began': /^2\d{3}$/, 'x-cut': 'abc!', 'x-part': 'of <>' })
  t.match(headers['x-upstream'], /^127\.0\.0\.2:\d+$/)
  t.notHas(headers, 'x-none', 'what comes to nothing is left out')
  t.notHas(headers, 'x-odd', 'and what nobody can fill in')
})

t.test(
  'what a request is sent with repeats what its client asked for, not what a rewrite made of it',
  async (t) => {
    const a = await upstreamOf(t, '127.0.0.2', hello)
    const s = await scene(t, { a })
    const forwarded = { name: 'x-forwarded-host', value: '%REQ(:AUTHORITY)%%REQ(:PATH)%', template: true }
    await s.route({
      http: [
        rule(
          {
            match: { path: { kind: 'prefix', value: '/old' } },
            requestHeaders: { ...noOps, set: [forwarded] },
          },
          { rewrite: { path: { kind: 'prefix', value: '/new' }, authority: 'other.demo' } },
        ),
      ],
    })
    const seen = saw((await s.get('/old/x?q')).headers)
    t.match(seen, { host: 'other.demo', ':path': '/new/x?q', 'x-forwarded-host': 'web.demo/old/x?q' })
  },
)

t.test('a rule may ask for the header Host', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', hello)
  const s = await scene(t, { a })
  const host = { name: 'host', value: { kind: 'exact', value: 'a.example' } } as const
  await s.route({ http: [rule({ match: { headers: [host] } })] })
  t.equal((await s.get('/', { headers: { host: 'a.example' } })).status, 200)
  t.equal((await s.get('/', { headers: { host: 'b.example' } })).status, 404)
})

t.test('slashes are merged and decoded before a rule is chosen, where the mesh says so', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', hello)
  const s = await scene(t, { a })
  const http = [rule({ match: { path: { kind: 'segments', value: '/a/b' } } })]
  await s.route({ http })
  t.equal((await s.get('/a%2fb/c')).status, 404, 'not as usual')
  await s.route({ http, paths: 'decode-and-merge-slashes' })
  const got = await s.get('//a%2fb//c?d=//e')
  t.equal(got.status, 200)
  t.equal(saw(got.headers)[':path'], '/a/b/c?d=//e', 'what is judged is what is sent')
  await s.route({ http, paths: 'merge-slashes' })
  t.equal((await s.get('//a//b')).status, 200)
  t.equal((await s.get('/a%2fb')).status, 404)
})

t.test('answers of the waypoint itself', async (t) => {
  const s = await scene(t, {})
  const at = (path: string) => ({ path: { kind: 'exact', value: path } }) as const
  await s.route(
    {
      http: [
        rule({
          match: at('/moved'),
          action: { kind: 'redirect', status: 301, host: 'x.example', port: 'scheme' },
        }),
        rule({
          match: at('/said'),
          action: { kind: 'respond', status: 418, body: Buffer.from('tea').toString('base64') },
        }),
        rule({ match: at('/none') }, { destinations: [] }),
        rule({
          match: at('/fault'),
          fault: { abort: { ppm: 1_000_000, with: { kind: 'http', status: 555 } } },
        }),
        rule(
          { match: at('/missing') },
          {
            destinations: [
              {
                weight: 1,
                to: { ...toWeb, service: 'demo/gone.demo.svc.cluster.local' },
                requestHeaders: noOps,
                responseHeaders: noOps,
              },
            ],
          },
        ),
      ],
    },
    [policyOf({}), policyOf({ destination: { ...toWeb, service: 'demo/gone.demo.svc.cluster.local' } })],
  )
  t.match(await s.get('/moved'), { status: 301, body: '', headers: { location: 'http://x.example/moved' } })
  t.match(await s.get('/said'), { status: 418, body: 'tea' })
  t.match(await s.get('/none'), { status: 500 })
  t.match(await s.get('/fault'), { status: 555, body: 'fault filter abort' })
  t.match(await s.get('/missing'), { status: 503, body: '' })
  const grpc = await s.get('/fault2', { method: 'POST', headers: { 'content-type': 'application/grpc' } })
  t.match(grpc, { status: 200, headers: { 'grpc-status': '12' } }, 'gRPC is told in its own way')
  await eventually(() => s.lines().length === 6, 'all are logged')
  t.match(s.lines()[3], / 555 FI fault_filter_abort /)
  t.match(s.lines()[4], / 503 NC cluster_not_found /)
})

t.test('a delay is waited for, and told', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', hello)
  const s = await scene(t, { a })
  await s.route({ http: [rule({ fault: { delay: { ppm: 1_000_000, delayMs: 300 } } })] })
  const started = performance.now()
  t.equal((await s.get('/')).status, 200)
  t.ok(performance.now() - started >= 290)
  await eventually(() => s.lines().length === 1, 'it is logged')
  t.match(s.lines()[0], / 200 DI via_upstream /)
})

t.test('time is over', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', () => undefined)
  const s = await scene(t, { a })
  await s.route({ http: [rule({}, { timeoutMs: 100 })] })
  t.match(await s.get('/'), { status: 504, body: 'upstream request timeout' })
  await s.route({ http: [rule({}, { retry: { ...noRetries, perTryTimeoutMs: 50 } })] })
  t.match(await s.get('/'), { status: 504, body: 'upstream request timeout' })
  await eventually(() => s.lines().length === 2, 'both are logged')
  t.match(s.lines()[0], / 504 UT response_timeout /)
  t.match(s.lines()[1], / 504 UT upstream_per_try_timeout /)
})

t.test('a bad answer is asked for again, with the whole body', async (t) => {
  const bodies: string[] = []
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      bodies.push(`${String(request.headers['x-envoy-attempt-count'])} ${Buffer.concat(parts).length}`)
      response.statusCode = bodies.length < 3 ? 503 : 200
      response.end(`${bodies.length}`)
    })
  })
  const s = await scene(t, { a })
  const retry = {
    ...noRetries,
    attempts: 2,
    on: ['gateway-error'] as const,
    backoffBaseMs: 1,
    backoffMaxMs: 2,
  }
  await s.route({ http: [rule({}, { retry })] })
  const send = Buffer.alloc(200_000, 'x')
  t.match(await s.get('/', { method: 'POST', send }), { status: 200, body: '3' })
  t.same(bodies, ['1 200000', '2 200000', '3 200000'])
  bodies.length = 0
  const large = Buffer.alloc(2 << 20, 'x')
  t.match(
    await s.get('/', { method: 'POST', send: large }),
    { status: 503, body: '1' },
    'more than is kept is not',
  )
  t.same(bodies, ['1 2097152'])
})

t.test('the last bad answer is what is told when there are no tries left', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.writeHead(502).end('bad'))
  const s = await scene(t, { a })
  const retry = { ...noRetries, attempts: 1, on: ['5xx'] as const, backoffBaseMs: 1, backoffMaxMs: 2 }
  await s.route({ http: [rule({}, { retry })] })
  t.match(await s.get('/'), { status: 502, body: 'bad' })
  await eventually(() => s.lines().length === 1, 'it is logged')
  t.match(s.lines()[0], / 502 URX via_upstream /)
})

t.test('a copy goes to the mirror, whose answer nobody sees', async (t) => {
  const copies: string[] = []
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const isCopy = request.headers.host?.includes('-shadow') === true
      if (isCopy) copies.push(`${request.headers.host} ${Buffer.concat(parts).toString()}`)
      response.end(isCopy ? 'copy' : 'first')
    })
  })
  const s = await scene(t, { a })
  await s.route({ http: [rule({}, { mirrors: [{ to: toWeb, ppm: 1_000_000 }] })] })
  t.match(await s.get('/', { method: 'POST', send: 'body' }), { status: 200, body: 'first' })
  await eventually(() => copies.length === 1, 'the copy')
  t.same(copies, ['web.demo-shadow body'])
})

t.test('a client that goes is no failure of the upstream', async (t) => {
  const { promise: begun, resolve } = Promise.withResolvers<http.IncomingMessage>()
  const a = await upstreamOf(t, '127.0.0.2', (request) => resolve(request))
  const s = await scene(t, { a })
  const request = http.request({
    host: '127.0.0.1',
    port: await s.front(),
    agent: false,
    headers: { host: 'web' },
  })
  request.on('error', () => undefined)
  request.end()
  const upstream = await begun
  const gone = Promise.withResolvers<void>()
  upstream.socket.once('close', () => gone.resolve()) // reset, most likely: it is told that the request is no whole one
  request.destroy()
  await gone.promise
  await eventually(() => s.lines().length === 1, 'it is logged')
  t.match(s.lines()[0], / 0 DC downstream_remote_disconnect /)
})

t.test('more at once than is allowed', async (t) => {
  const held: http.ServerResponse[] = []
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void held.push(response))
  const s = await scene(t, { a })
  const { connections } = policyOf({})
  await s.route({ http: [rule()] }, [policyOf({ connections: { ...connections, maxRequests: 1 } })])
  const first = s.get('/')
  await eventually(() => held.length === 1, 'one is under way')
  t.match(await s.get('/'), {
    status: 503,
    headers: { 'x-envoy-overloaded': 'true' },
    body: /reset reason: overflow$/,
  })
  held[0]?.end('done')
  t.match(await first, { status: 200, body: 'done' })
  await eventually(() => s.lines().length === 2, 'both are logged')
  t.match(s.lines()[0], / 503 UO upstream_reset_before_response_started\{overflow\} /)
})

t.test('an endpoint that fails again and again is left alone', async (t) => {
  const [bad, good] = [{ asked: 0 }, { asked: 0 }]
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => {
    bad.asked++
    response.writeHead(500).end()
  })
  const b = await upstreamOf(t, '127.0.0.3', (_, response) => {
    good.asked++
    response.end()
  })
  const s = await scene(t, { a, b })
  const outliers = {
    consecutive5xx: 2,
    consecutiveGatewayErrors: 0,
    splitLocalOrigin: false,
    consecutiveLocalOriginFailures: 0,
    intervalMs: 60_000,
    baseEjectionMs: 60_000,
    maxEjectionMs: 300_000,
    maxEjectionPercent: 50,
  }
  await s.route({ http: [rule()] }, [policyOf({ outliers, loadBalancer: { kind: 'round-robin' } })])
  for (let i = 0; i < 20; i++) await s.get('/')
  t.equal(bad.asked, 2)
  t.equal(good.asked, 18)
})

t.test('a pod that is asked for by its address gets the request, by no route', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', hello)
  const s = await scene(t, { a: { ...a, waypoint: '127.0.0.1' } })
  await s.route({ http: [] })
  t.equal((await s.get('/')).status, 404, 'the service has no route')
  const got = await s.get('/x', { authority: `127.0.0.2:${a.port}` })
  t.match(got, { status: 200, body: 'hello', headers: { server: 'istio-envoy' } })
  await eventually(() => s.lines().length === 2, 'it is logged')
  t.match(
    await s.running.waypoint.registry.metrics(),
    /istio_requests_total\{.*destination_workload="a".*\} 1/,
  )
})

t.test('routes that cannot be read answer nothing, until they can', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', hello)
  const s = await scene(t, { a })
  const push = (text: string) =>
    s.running.push(serviceRoutesTypeUrl, { [webKey]: { bytes: Buffer.from(text) } })
  await push('not JSON')
  await t.rejects(s.tunnel(), { code: 'http-status' }, 'closed')
  await s.route({ http: [rule()] })
  t.equal((await s.get('/')).status, 200)
  await push('not JSON')
  t.equal((await s.get('/')).status, 200, 'what was read before stays')
  await s.running.push(serviceRoutesTypeUrl, {}, [webKey])
  t.equal((await s.get('/')).status, 200, 'without routes it goes to the service')
})

t.test(
  'what the control plane changes counts from the next request on, also on a connection that is open',
  async (t) => {
    const a = await upstreamOf(t, '127.0.0.2', hello)
    const s = await scene(t, { a })
    await s.route({ http: [rule()] })
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => agent.destroy())
    t.equal((await s.get('/', { agent })).status, 200)
    await s.route({ http: [rule({ action: { kind: 'respond', status: 418 } })] })
    t.equal((await s.get('/', { agent })).status, 418)
  },
)
