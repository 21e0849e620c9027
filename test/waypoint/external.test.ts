/** External services behind a waypoint, as ServiceEntries have them: egress. */
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { type DestinationPolicy, serviceRoutesTypeUrl, type ServiceRoutes } from '#routes'
import { addressTypeUrl, workload } from '#wire'
import { serviceResource, workloadResource } from '../fakes/mesh.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { freePort } from '../fakes/free-port.ts'
import { createTestCa } from '../fakes/test-ca.ts'
import { defaultPolicy } from '../../waypoint/upstream/index.ts'
import { noOps, noRetries, type Scene, scene, tcpUpstream, upstreamOf } from './kit.ts'

const vip = '240.240.0.7'
const keyOf = (hostname: string) => `demo/${hostname}`

/** The waypoint knows an external host, its ports, and where they lead. */
async function external(
  t: Test,
  hostname: string,
  ports: Readonly<Record<number, number>>,
  endpoints: readonly Readonly<{
    hostname?: string
    addresses?: readonly string[]
    ports?: Record<number, number>
  }>[],
  env: Readonly<Record<string, string>> = {},
): Promise<Scene> {
  const s = await scene(t, {}, env)
  await s.running.push(
    addressTypeUrl,
    Object.assign(
      {},
      serviceResource({ name: 'api', hostname, vips: [vip], ports, waypoint: '127.0.0.1' }),
      ...endpoints.map(({ hostname: name = '', addresses = [], ports: own = {} }, n) =>
        workloadResource({
          name: `e${n}`,
          uid: `Kubernetes/networking.istio.io/ServiceEntry/demo/api/${n}`,
          hostname: name,
          addresses,
          tunnelProtocol: 0,
          services: { [keyOf(hostname)]: { ...ports, ...own } },
        }),
      ),
    ),
  )
  return s
}

/** One try for everything, by a policy of its own. */
async function routed(s: Scene, hostname: string, policy: Partial<DestinationPolicy>): Promise<void> {
  const service = keyOf(hostname)
  const to = { kind: 'service', service, port: 80 } as const
  const origin = { kind: 'ServiceEntry', name: 'demo/api' } as const
  const forward = {
    kind: 'forward',
    destinations: [{ weight: 1, to, requestHeaders: noOps, responseHeaders: noOps }],
    mirrors: [],
    timeoutMs: 0,
    retry: noRetries,
  } as const
  const own = { name: 'r', origin, match: {}, requestHeaders: noOps, responseHeaders: noOps }
  const routes: ServiceRoutes = {
    version: 1,
    service,
    ports: [{ port: 80, protocol: 'http', http: [{ ...own, action: forward }], l4: [] }],
    policies: [{ ...defaultPolicy(service, 80), ...policy }],
  }
  await s.running.push(serviceRoutesTypeUrl, { [service]: { bytes: Buffer.from(JSON.stringify(routes)) } })
}
/** Whoever asks a name server that does not answer gives up. */
const impatient = (hostname: string): Partial<DestinationPolicy> => {
  const { connections } = defaultPolicy(keyOf(hostname), 80)
  return { connections: { ...connections, connectTimeoutMs: 1_000 } }
}

t.test('an external host of fixed endpoints, each with its own port', async (t) => {
  const [a, b] = [
    await upstreamOf(t, '127.0.0.2', ({ headers }, response) => response.end(`a for ${headers.host}`)),
    await upstreamOf(t, '127.0.0.3', ({ headers }, response) => response.end(`b for ${headers.host}`)),
  ]
  const s = await external(t, 'api.example.com', { 80: 80 }, [
    { addresses: ['127.0.0.2'], ports: { 80: a.port } },
    { addresses: ['127.0.0.3'], ports: { 80: b.port } },
  ])
  const seen = new Set<string>()
  for (let i = 0; i < 20; i++)
    seen.add((await s.get('/', { authority: `${vip}:80`, headers: { host: 'api.example.com' } })).body)
  t.same([...seen].map(String).sort(), ['a for api.example.com', 'b for api.example.com'])
})

t.test('one that DNS resolves, asked for by address or by name, and counted', async (t) => {
  const a = await upstreamOf(t, '127.0.0.1', (_, response) => response.end('resolved'))
  const s = await external(t, 'api.example.com', { 80: a.port }, [{ hostname: 'localhost' }])
  for (const authority of [`${vip}:80`, 'api.example.com:80'])
    t.match(await s.get('/', { authority }), { status: 200, body: 'resolved' })
  await eventually(() => s.lines().length === 2, 'both are logged')
  t.match(
    await s.running.waypoint.registry.metrics(),
    /istio_requests_total\{.*destination_service="api\.example\.com".*\} 2/,
  )
})

t.test('one whose name nobody knows', async (t) => {
  const s = await external(t, 'api.example.com', { 80: 80 }, [{ hostname: 'nowhere.invalid' }])
  await routed(s, 'api.example.com', impatient('api.example.com'))
  t.equal((await s.get('/', { authority: `${vip}:80` })).status, 503)
})

t.test('no name and no address leads to the waypoint’s own ports', async (t) => {
  const port = await freePort()
  const ours = { ADMIN_PORT: `${port}` }
  for (const endpoint of [{ addresses: ['127.0.0.1'] }, { hostname: 'localhost' }]) {
    const s = await external(t, 'api.example.com', { 80: port }, [endpoint], ours)
    t.equal((await fetch(`http://127.0.0.1:${port}/nothing`)).status, 404, 'there is somebody')
    t.equal((await s.get('/nothing', { authority: `${vip}:80` })).status, 503)
    const duplex = (await s.tunnel(`${vip}:80`)).duplex()
    duplex.on('error', () => undefined)
    let answer = ''
    duplex.on('data', (part: Buffer) => void (answer += part.toString('latin1')))
    let closed = false
    for (const event of ['end', 'close']) duplex.on(event, () => void (closed = true))
    duplex.write('\0no HTTP')
    await eventually(() => closed, 'nor is anything that is not HTTP')
    t.equal(answer, '')
    await s.running[Symbol.asyncDispose]()
  }
})

t.test('TLS is originated: HTTP on port 80 leads to HTTPS on its target port', async (t) => {
  const ca = createTestCa()
  const { certPem, keyPem } = ca.server() // for localhost
  const server = createServer({ cert: certPem, key: keyPem }, ({ headers }, response) =>
    response.end(`over TLS for ${headers.host}`),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const s = await external(t, 'localhost', { 80: port }, [{ hostname: 'localhost' }])
  const tls = {
    mode: 'simple',
    subjectAltNames: [],
    trust: { kind: 'pem', pem: ca.rootPem },
    insecureSkipVerify: false,
  } as const
  await routed(s, 'localhost', { tls })
  const got = await s.get('/', { authority: `${vip}:80`, headers: { host: 'localhost' } })
  t.match(got, { status: 200, body: 'over TLS for localhost' })
})

t.test('TLS of the client’s own goes through as it is', async (t) => {
  const a = await tcpUpstream(t, '127.0.0.2', (socket) => {
    socket.once('data', (part: Buffer) => socket.end(Buffer.from([part[0] ?? 0, part.length])))
  })
  const s = await external(t, 'api.example.com', { 443: 443 }, [
    { addresses: ['127.0.0.2'], ports: { 443: a.port } },
  ])
  const duplex = (await s.tunnel(`${vip}:443`)).duplex()
  duplex.on('error', () => undefined)
  const hello = Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0])
  duplex.write(hello)
  const [answer] = (await once(duplex, 'data')) as [Buffer]
  t.same([...answer], [0x16, hello.length])
})

t.test('any name below a wildcard leads to itself, and no other name does', async (t) => {
  const asked: (string | undefined)[] = []
  // The system knows every name below localhost as this machine (RFC 6761), or this one does not exist at all.
  const a = await upstreamOf(t, '127.0.0.1', ({ headers }, response) => {
    asked.push(headers.host)
    response.end('here')
  })
  const s = await external(t, '*.localhost', { 80: a.port }, [])
  await routed(s, '*.localhost', impatient('*.localhost'))
  const statusOf = async (host: string) =>
    (await s.get('/', { authority: `${vip}:80`, headers: { host } })).status
  for (const host of [
    'localhost',
    'x.localhost.evil',
    'evil',
    '127.0.0.1',
    'a..localhost',
    '-.localhost',
    '.localhost',
  ])
    t.equal(await statusOf(host), 404, host)
  t.same(asked, [])
  const found = await statusOf('one.localhost')
  t.ok(found === 200 || found === 503, 'as the system resolves it')
  t.same(asked, found === 200 ? ['one.localhost'] : [])
  await eventually(() => s.lines().length === 8, 'all are logged')
  t.match(s.lines()[0], / 404 NR route_not_found /)
})

t.test('an endpoint in the mesh that has only a name is not called in the clear', async (t) => {
  let asked = 0
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => {
    asked++
    response.end('a')
  })
  const s = await scene(t, {})
  await s.running.push(addressTypeUrl, {
    ...serviceResource({
      name: 'api',
      hostname: 'api.test',
      vips: [vip],
      ports: { 80: a.port },
      waypoint: '127.0.0.1',
    }),
    ...workloadResource({
      name: 'vm',
      hostname: '127.0.0.2',
      services: { [keyOf('api.test')]: { 80: a.port } },
    }),
  })
  t.match(await s.get('/', { authority: `${vip}:80` }), { status: 503 })
  t.equal(asked, 0)
})

t.test('resolution NONE: a client is led to the address that it has used, and to no other', async (t) => {
  const asked: (string | undefined)[] = []
  const a = await upstreamOf(t, '127.0.0.2', ({ headers }, response) => {
    asked.push(headers.host)
    response.end('a')
  })
  const b = await tcpUpstream(t, '127.0.0.2', (socket) => socket.end('b says hello'))
  const s = await scene(t, {})
  const near = await upstreamOf(t, '127.0.0.3', (_, response) => response.end('never'))
  const ports = { [a.port]: 0, [b.port]: 0, [near.port]: 0 }
  const loadBalancing = {
    routingPreference: [],
    mode: workload.LoadBalancing_Mode.PASSTHROUGH,
    healthPolicy: workload.LoadBalancing_HealthPolicy.ALLOW_ALL,
  }
  const entry = { name: 'api', ports, waypoint: '127.0.0.1', loadBalancing }
  await s.running.push(addressTypeUrl, {
    ...serviceResource({ ...entry, hostname: 'one.test', vips: ['127.0.0.2'] }),
    ...serviceResource({ ...entry, hostname: 'many.test', vips: ['127.0.0.2/31', '192.0.2.0/24'] }),
    ...workloadResource({ name: 'guarded', addresses: ['192.0.2.7'], waypoint: '192.0.2.8' }),
  })
  const got = await s.get('/', { authority: `127.0.0.2:${a.port}`, headers: { host: 'one.test' } })
  t.match(got, { status: 200, body: 'a' })
  t.same(asked, ['one.test'])
  const duplex = (await s.tunnel(`127.0.0.2:${b.port}`)).duplex()
  duplex.on('error', () => undefined)
  const [hello] = (await once(duplex, 'data')) as [Buffer]
  t.equal(String(hello), 'b says hello')
  const here = await s.get('/', { authority: `127.0.0.3:${near.port}` })
  t.match(here, { status: 503, body: 'no healthy upstream' }, 'this machine is nobody’s to choose')
  const past = await s.get('/', { authority: `192.0.2.7:${a.port}` })
  t.match(past, { status: 503, body: 'no healthy upstream' }, 'and nobody gets past a waypoint')
  t.equal(asked.length, 1)
})
