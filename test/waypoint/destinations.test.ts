/** What a destination's policy says of requests, seen from both ends of them. */
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { ConnectionLimits, RetryPolicy } from '#routes'
import { addressTypeUrl, workloadLabelsTypeUrl } from '#wire'
import { workloadResource } from '../fakes/mesh.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { noOps, noRetries, policyOf, rule, scene, tcpUpstream, toWeb, upstreamOf, webKey } from './kit.ts'

const limited = (limits: Partial<ConnectionLimits>) =>
  policyOf({ connections: { ...policyOf({}).connections, ...limits } })

/** An HTTP server that says on which of its connections it was asked. */
async function counting(t: Test, host = '127.0.0.2', answer = 200) {
  const sockets: Socket[] = []
  const upstream = await upstreamOf(t, host, ({ socket }, response) => {
    if (!sockets.includes(socket)) sockets.push(socket)
    response.writeHead(answer).end(`${sockets.indexOf(socket)}`)
  })
  return { ...upstream, sockets }
}

t.test('connections are used again, and not when they are old', async (t) => {
  const a = await counting(t)
  const s = await scene(t, { a })
  const bodyOf = async () => (await s.get('/')).body
  await s.route({ http: [rule()] }, [policyOf({})])
  t.same([await bodyOf(), await bodyOf()], ['0', '0'])
  await s.route({ http: [rule()] }, [limited({ maxRequestsPerConnection: 1 })])
  t.same([await bodyOf(), await bodyOf(), await bodyOf()], ['0', '1', '2'], 'one request each')
  await s.route({ http: [rule()] }, [limited({ maxConnectionDurationMs: 50 })])
  const old = Number(await bodyOf())
  await eventually(() => a.sockets[old]?.destroyed === true, 'the connection is closed')
  t.equal(await bodyOf(), `${old + 1}`)
})

t.test('a connection that nobody uses is closed in time', async (t) => {
  const a = await counting(t)
  const s = await scene(t, { a })
  await s.route({ http: [rule()] }, [limited({ httpIdleTimeoutMs: 50 })])
  await s.get('/')
  await eventually(() => a.sockets[0]?.destroyed === true, 'it is closed')
})

t.test(
  'more than may wait are told so, and those that may wait are served by the connections there are',
  async (t) => {
    const held: http.ServerResponse[] = []
    const sockets = new Set<Socket>()
    const a = await upstreamOf(t, '127.0.0.2', ({ socket }, response) => {
      sockets.add(socket)
      held.push(response)
    })
    const s = await scene(t, { a })
    await s.route({ http: [rule()] }, [limited({ maxConnections: 1, maxPending: 1 })])
    const first = s.get('/1')
    await eventually(() => held.length === 1, 'one is under way')
    const both = [s.get('/2'), s.get('/3')]
    const early = await Promise.race(both)
    t.match(early, { status: 503, headers: { 'x-envoy-overloaded': 'true' } })
    held[0]?.end()
    await eventually(() => held.length === 2, 'the one that waited has its turn')
    held[1]?.end()
    const statuses = (await Promise.all([first, ...both])).map(({ status }) => status)
    t.same(
      statuses.sort((x, y) => x - y),
      [200, 200, 503],
    )
    t.equal(sockets.size, 1)
  },
)

t.test('an upstream of HTTP/2 is asked whether it is there', async (t) => {
  let pings = 0
  const server = http2.createServer()
  server.on('session', (session) => session.on('ping', () => void pings++))
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ':status': 200 })
    stream.end('two')
  })
  server.listen(0, '127.0.0.2')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const s = await scene(t, { a: { address: '127.0.0.2', port: (server.address() as AddressInfo).port } })
  const keepAlive = { http2KeepAlive: { intervalMs: 20, timeoutMs: 20_000 } }
  await s.route({ http: [rule()] }, [{ ...limited(keepAlive), http: 'http2' }])
  t.equal((await s.get('/')).body, 'two')
  await eventually(() => pings > 1, 'again and again')
})

t.test('a connection with a PROXY header is one client’s alone', async (t) => {
  const headers: string[] = []
  const a = await tcpUpstream(t, '127.0.0.2', (socket) => {
    let head = ''
    socket.on('data', (part: Buffer) => {
      head += part.toString('latin1')
      if (!head.endsWith('\r\n\r\n')) return
      const [first = ''] = head.split('\r\n')
      if (first.startsWith('PROXY')) headers.push(first)
      head = ''
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
    })
  })
  const s = await scene(t, { a })
  await s.route({ http: [rule()] }, [policyOf({ proxyProtocol: 'v1' })])
  t.equal((await s.get('/')).body, 'ok')
  t.equal((await s.get('/')).body, 'ok')
  t.equal(headers.length, 1, 'its requests share it')
  const other = (await s.tunnel(undefined, 'other')).duplex()
  other.on('error', () => undefined)
  other.write('GET / HTTP/1.1\r\nhost: web.demo\r\n\r\n')
  await once(other, 'data')
  t.equal(new Set(headers).size, 2, 'another client’s do not')
  t.ok(headers.every((header) => /^PROXY TCP4 127\.0\.0\.1 10\.96\.0\.10 \d+ 80$/.test(header)))
})

const retries = (given: Partial<RetryPolicy>): RetryPolicy => ({
  ...noRetries,
  attempts: 3,
  on: ['5xx'],
  backoffBaseMs: 1,
  backoffMaxMs: 1,
  ...given,
})
const outliers = {
  consecutive5xx: 0,
  consecutiveGatewayErrors: 0,
  splitLocalOrigin: false,
  consecutiveLocalOriginFailures: 0,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 10,
}

t.test('retries leave the locality where they may', async (t) => {
  const at = (region: string) => ({ locality: { region, zone: '', subzone: '' } })
  const [near, far] = [await counting(t, '127.0.0.2', 503), await counting(t, '127.0.0.3')]
  const s = await scene(t, { near: { ...near, ...at('r1') }, far: { ...far, ...at('r2') } })
  await s.running.push(
    addressTypeUrl,
    workloadResource({ name: 'waypoint', node: 'n1', addresses: ['127.0.0.9'], ...at('r1') }),
  )
  const policy = policyOf({ outliers, locality: { kind: 'failover', regions: [] } })
  await s.route({ http: [rule({}, { retry: retries({}) })] }, [policy])
  t.equal((await s.get('/')).status, 503, 'they do not of themselves')
  await s.route({ http: [rule({}, { retry: retries({ otherLocalities: true }) })] }, [policy])
  t.equal((await s.get('/')).status, 200)
})

t.test('a retry counts against its limit until something has come of it', async (t) => {
  const held: http.ServerResponse[] = []
  const asked: string[] = []
  const a = await upstreamOf(t, '127.0.0.2', ({ url = '', headers }, response) => {
    asked.push(url)
    if (headers['x-envoy-attempt-count'] === '1') response.writeHead(503).end()
    else if (url === '/held') held.push(response)
    else response.end('ok')
  })
  const s = await scene(t, { a })
  await s.route({ http: [rule({}, { retry: retries({}) })] }, [limited({ maxRetries: 1 })])
  const first = s.get('/held')
  await eventually(() => held.length === 1, 'its retry is under way')
  t.equal((await s.get('/second')).status, 503)
  t.equal(asked.filter((url) => url === '/second').length, 1, 'there is no room for another')
  await eventually(
    () => s.lines().some((line) => line.includes('/second') && line.includes(' 503 UO ')),
    'UO',
  )
  held[0]?.end()
  t.equal((await first).status, 200)
  t.equal((await s.get('/third')).status, 200, 'now there is')
})

t.test('the time of a try begins when the whole request is here', async (t) => {
  let asked = 0
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
    asked++
    request.on('error', () => undefined)
    void request.resume().on('end', () => response.end('ok'))
  })
  const s = await scene(t, { a })
  await s.route({ http: [rule({}, { retry: retries({ perTryTimeoutMs: 2_000 }) })] })
  const request = http.request({
    port: await s.front(),
    host: '127.0.0.1',
    method: 'POST',
    headers: { host: 'web.demo', 'content-length': '6' },
    agent: false,
  })
  request.write('abc')
  await eventually(() => asked === 1, 'it is on its way')
  await new Promise((done) => setTimeout(done, 2_500))
  request.end('def')
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  t.equal(response.statusCode, 200)
  t.equal(asked, 1, 'once')
})

t.test('who is hashed to a host is sent to it again by retries', async (t) => {
  const [a, b] = [await counting(t, '127.0.0.2', 503), await counting(t, '127.0.0.3', 503)]
  let asked = new Set<string>()
  for (const one of [a, b]) one.server.prependListener('request', () => void asked.add(one.address))
  const s = await scene(t, { a, b })
  const keys = [{ kind: 'header', name: 'x-user' }] as const
  const http = [rule({}, { retry: retries({}) })]
  await s.route({ http }, [policyOf({ loadBalancer: { kind: 'ring-hash', minimumRingSize: 64, keys } })])
  for (const user of ['a', 'b', 'c', 'd']) {
    asked = new Set()
    t.equal((await s.get('/', { headers: { 'x-user': user } })).status, 503)
    t.equal(asked.size, 1, `of ${user} by one host only`)
  }
  await s.route({ http }, [policyOf({})])
  asked = new Set()
  await s.get('/')
  t.equal(asked.size, 2, 'others try the other host')
})

t.test('a client without a cookie is given one, and stays with the host that it leads to', async (t) => {
  const [a, b] = [await counting(t, '127.0.0.2'), await counting(t, '127.0.0.3')]
  let asked = new Set<string>()
  for (const one of [a, b]) one.server.prependListener('request', () => void asked.add(one.address))
  const s = await scene(t, { a, b })
  const attributes = [{ name: 'SameSite', value: 'Lax' }]
  const keys = [{ kind: 'cookie', name: 'stay', path: '/shop', ttlMs: 90_000, attributes }] as const
  const loadBalancer = { kind: 'ring-hash', minimumRingSize: 64, keys } as const
  await s.route({ http: [rule()] }, [policyOf({ loadBalancer })])
  const hosts = new Set<string>()
  // Which host a cookie leads to is a throw of dice: some clients, and more until both have been met.
  for (let client = 0; client < 5 || (hosts.size < 2 && client < 200); client++) {
    asked = new Set()
    const [given = ''] = (await s.get('/')).headers['set-cookie'] ?? []
    t.match(given, /^stay="[0-9a-f]{16}"; Max-Age=90; Path=\/shop; SameSite=Lax; HttpOnly$/)
    const [cookie] = given.split(';')
    for (let i = 0; i < 4; i++) {
      const { headers } = await s.get('/', { headers: { cookie: `other=1; ${cookie}` } })
      t.notOk(headers['set-cookie'], 'it is given once')
    }
    t.equal(asked.size, 1)
    for (const host of asked) hosts.add(host)
  }
  t.equal(hosts.size, 2, 'not all of them lead to one host')
  const session = [{ kind: 'cookie', name: 'stay', ttlMs: 0 }] as const
  await s.route({ http: [rule()] }, [policyOf({ loadBalancer: { ...loadBalancer, keys: session } })])
  t.match((await s.get('/')).headers['set-cookie'], [/^stay="[0-9a-f]{16}"; HttpOnly$/])
})

t.test('a route that takes too long counts against its host', async (t) => {
  const slow = await upstreamOf(t, '127.0.0.2', () => undefined)
  const quick = await counting(t, '127.0.0.3')
  const s = await scene(t, { slow, quick })
  const policy = policyOf({
    outliers: { ...outliers, consecutiveGatewayErrors: 1, maxEjectionPercent: 50 },
    loadBalancer: { kind: 'round-robin' },
  })
  await s.route({ http: [rule({}, { timeoutMs: 1_000 })] }, [policy])
  const statuses: number[] = []
  for (let i = 0; i < 6; i++) statuses.push((await s.get('/')).status)
  t.equal(statuses.filter((status) => status === 504).length, 1, statuses.join())
})

/** A pod that says more of its labels than its fields do. */
const labelled = (labels: Readonly<Record<string, string>>) => {
  const entry = (key: string, value: string) => {
    const field = (tag: number, text: string) =>
      Buffer.concat([Buffer.from([tag, text.length]), Buffer.from(text)])
    const both = Buffer.concat([field(10, key), field(18, value)])
    return Buffer.concat([Buffer.from([10, both.length]), both])
  }
  const value = Buffer.concat(Object.entries(labels).map(([key, text]) => entry(key, text)))
  return { extensions: [{ name: 'x', config: { typeUrl: workloadLabelsTypeUrl, value } }] }
}

t.test('any label tells subsets apart', async (t) => {
  const [stable, canary] = [await counting(t, '127.0.0.2'), await counting(t, '127.0.0.3')]
  const s = await scene(t, {
    stable: { ...stable, ...labelled({ track: 'stable', 'pod-template-hash': '7c9' }) },
    canary: { ...canary, ...labelled({ track: 'canary', 'pod-template-hash': '5d7' }) },
  })
  const to = { ...toWeb, subset: 'next' }
  const http = [
    rule({}, { destinations: [{ weight: 1, to, requestHeaders: noOps, responseHeaders: noOps }] }),
  ]
  for (const labels of [
    { track: 'canary' },
    { 'pod-template-hash': '5d7' },
    { track: 'canary', app: 'canary' },
  ]) {
    const before = stable.sockets.length
    await s.route({ http }, [policyOf({}), { ...policyOf({ labels }), destination: to }])
    for (let i = 0; i < 6; i++) t.equal((await s.get('/')).status, 200)
    t.equal(stable.sockets.length, before, JSON.stringify(labels))
  }
  await s.route({ http }, [policyOf({}), { ...policyOf({ labels: { track: 'none' } }), destination: to }])
  t.match(await s.get('/'), { status: 503, body: 'no healthy upstream' })
  await s.running.push(addressTypeUrl, {
    ...workloadResource({
      name: 'stable',
      node: 'n2',
      addresses: ['127.0.0.2'],
      tunnelProtocol: 0,
      services: { [webKey]: { 80: stable.port } },
      ...labelled({ track: 'none' }),
    }),
  })
  t.equal((await s.get('/')).status, 200, 'labels that change count at once')
})

t.test('rules ask for labels of the pod that calls, whatever it says itself', async (t) => {
  const a = await counting(t)
  const s = await scene(t, { a })
  const found = { kind: 'respond', status: 299 } as const
  const http = [rule({ match: { source: { labels: { role: 'batch' } } }, action: found }), rule()]
  await s.route({ http })
  const clientIs = (labels: Readonly<Record<string, string>>, name = 'client') =>
    s.running.push(addressTypeUrl, {
      ...workloadResource({
        name: 'client',
        node: 'n1',
        addresses: ['127.0.0.1'],
        serviceAccount: name,
        ...labelled(labels),
      }),
    })
  t.equal((await s.get('/', { headers: { role: 'batch', 'x-role': 'batch' } })).status, 200)
  await clientIs({ role: 'batch' })
  t.equal((await s.get('/')).status, 299)
  await clientIs({ role: 'other' })
  t.equal((await s.get('/')).status, 200)
  await clientIs({ role: 'batch' }, 'somebody-else')
  t.equal((await s.get('/')).status, 200, 'the pod at that address is not who the certificate says')
})
