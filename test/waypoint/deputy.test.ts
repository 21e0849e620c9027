import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { addressTypeUrl, authorizationTypeUrl, security } from '#wire'
import { policyResource, serviceResource, workloadResource } from '../fakes/mesh.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { meshProxy, ownAddress, policyOf, type Scene, scene, tcpUpstream, upstreamOf } from './kit.ts'

t.setTimeout(60_000)

const client = 'cluster.local/ns/demo/sa/client'
const waypoint = 'cluster.local/ns/demo/sa/waypoint'

/** A pod `a` of the mesh, whose own proxy knows nobody but the waypoint, behind service web. */
async function meshed(t: Test, answer: http.RequestListener): Promise<Scene> {
  const a = await upstreamOf(t, ownAddress(0), answer)
  const s = await scene(t, { a: { ...a, tunnelProtocol: 1 } })
  await meshProxy(t, s.ca, 'a', a)
  return s
}

const told = (s: Scene, ...policies: Readonly<Record<string, { bytes: Uint8Array }>>[]) =>
  s.running.push(authorizationTypeUrl, Object.assign({}, ...policies))

t.test('the policies of a workload are about who calls, not about the waypoint', async (t) => {
  let asked = 0
  const s = await meshed(t, (_, response) => {
    asked++
    response.end('a')
  })
  t.equal((await s.get('/')).status, 200, 'without a policy everybody may')
  await told(s, policyResource({ name: 'not-client', action: 'deny', principals: [client] }))
  t.match(await s.get('/'), { status: 403, body: 'RBAC: access denied' })
  t.equal(asked, 1, 'nothing was sent')
  await eventually(() => s.lines().length === 2, 'both are logged')
  t.match(s.lines()[1], / 403 - rbac_access_denied_matched_policy\[demo\/not-client\] /)
  await s.running.push(authorizationTypeUrl, {}, ['demo/not-client'])
  t.equal((await s.get('/')).status, 200, 'until it is gone')
})

const allows: readonly (readonly [title: string, principals: readonly string[], status: number])[] = [
  ['the caller', [client], 200],
  ['somebody else', ['cluster.local/ns/demo/sa/bank'], 403],
  ['the waypoint: whom it lets through may come', [waypoint], 200],
  ['somebody else and the waypoint', ['cluster.local/ns/demo/sa/bank', waypoint], 200],
]
for (const [title, principals, status] of allows)
  t.test(`a workload that allows ${title}`, async (t) => {
    const s = await meshed(t, (_, response) => void response.end('a'))
    await told(s, policyResource({ name: 'some', principals }))
    t.equal((await s.get('/')).status, status)
  })

t.test('the namespace of a waypoint lends nobody its name', async (t) => {
  const s = await meshed(t, (_, response) => void response.end('a'))
  const inBank: security.Match = {
    ...security.Match.decode(new Uint8Array()),
    namespaces: [{ matchType: { $case: 'exact', value: 'bank' } }],
  }
  const policy: security.Authorization = {
    ...security.Authorization.decode(new Uint8Array()),
    name: 'not-bank',
    namespace: 'demo',
    scope: security.Scope.NAMESPACE,
    action: security.Action.ALLOW,
    rules: [{ clauses: [{ matches: [inBank] }] }],
  }
  await told(s, { 'demo/not-bank': { bytes: security.Authorization.encode(policy).finish() } })
  t.equal((await s.get('/')).status, 403)
})

for (const [title, spared, status] of [
  ['the waypoint', [waypoint], 200],
  ['the waypoint and somebody else', ['cluster.local/ns/demo/sa/bank', waypoint], 200],
  ['somebody else', ['cluster.local/ns/demo/sa/bank'], 403],
  ['whoever has an identity', ['*'], 200],
] as const)
  t.test(`a workload that denies everybody but ${title}`, async (t) => {
    const s = await meshed(t, (_, response) => void response.end('a'))
    const others: security.Match = {
      ...security.Match.decode(new Uint8Array()),
      notPrincipals: spared.map((value) => ({
        matchType: value === '*' ? { $case: 'presence', value: {} } : { $case: 'exact', value },
      })),
    }
    const policy: security.Authorization = {
      ...security.Authorization.decode(new Uint8Array()),
      name: 'others',
      namespace: 'demo',
      scope: security.Scope.NAMESPACE,
      action: security.Action.DENY,
      rules: [{ clauses: [{ matches: [others] }] }],
    }
    const bytes = security.Authorization.encode(policy).finish()
    await told(s, { 'demo/others': { bytes } })
    t.equal((await s.get('/')).status, status)
    await told(s, policyResource({ name: 'not-client', action: 'deny', principals: [client] }))
    t.equal((await s.get('/')).status, 403, 'what denies the caller still does')
  })

t.test('nobody is asked about where there is no proxy that would', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('a'))
  const s = await scene(t, { a })
  await told(s, policyResource({ name: 'not-client', action: 'deny', principals: [client] }))
  t.equal((await s.get('/')).status, 200)
})

const gone = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()))

t.test('a connection to a workload is judged by its policies, before and after it is open', async (t) => {
  let connections = 0
  const a = await tcpUpstream(t, ownAddress(1), (socket) => {
    connections++
    socket.pipe(socket)
  })
  const s = await scene(t, { a: { ...a, tunnelProtocol: 1 } })
  await meshProxy(t, s.ca, 'a', a)
  await s.route({ protocol: 'tcp' })
  const port = await s.front()
  const open = () => connect({ host: '127.0.0.1', port }).on('error', () => undefined)
  const first = open()
  first.write('hello')
  t.equal(String((await once(first, 'data'))[0]), 'hello')
  const ended = gone(first)
  await told(s, policyResource({ name: 'not-client', action: 'deny', principals: [client] }))
  await ended
  const again = open()
  await gone(again)
  t.equal(again.bytesRead, 0)
  t.equal(connections, 1, 'the application has not heard of it')
})

/** A request whose answer does not end. */
async function openStream(s: Scene): Promise<http.IncomingMessage> {
  const request = http.get({
    host: '127.0.0.1',
    port: await s.front(),
    agent: false,
    headers: { host: 'web' },
  })
  request.on('error', () => undefined)
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.on('error', () => undefined)
  await once(response, 'data')
  return response
}

t.test('an answer that streams ends when its caller may not have it any more', async (t) => {
  let left = 0
  const stream: http.RequestListener = (_, response) => {
    response.write('data: 1\n\n')
    response.on('close', () => left++)
  }
  const s = await meshed(t, stream)
  const first = await openStream(s)
  const ended = new Promise((resolve) => first.once('close', resolve))
  await s.policy('not-client', 'deny', [client])
  await ended
  t.equal(first.complete, false, 'its client can tell')
  await eventually(() => left === 1, 'the application is told')
  await eventually(() => s.lines().length === 1, 'it is logged')
  t.match(s.lines()[0], /rbac_access_denied_matched_policy\[demo\/not-client\]/)
})

t.test('so does one to a workload that refuses the caller now', async (t) => {
  const s = await meshed(t, (_, response) => void response.write('data: 1\n\n'))
  const first = await openStream(s)
  const ended = new Promise((resolve) => first.once('close', resolve))
  await told(s, policyResource({ name: 'not-client', action: 'deny', principals: [client] }))
  await ended
  t.equal(first.complete, false)
})

t.test('a request that waits for its answer ends too', async (t) => {
  let heard = 0
  let left = 0
  const s = await meshed(t, (_, response) => {
    heard++
    response.on('close', () => left++)
  })
  const request = http.get({
    host: '127.0.0.1',
    port: await s.front(),
    agent: false,
    headers: { host: 'web' },
  })
  const failed = once(request, 'error')
  await eventually(() => heard === 1, 'it has arrived')
  await s.policy('not-client', 'deny', [client])
  await failed
  await eventually(() => left === 1, 'the application is told')
  t.equal(heard, 1, 'and it is not tried again')
})

t.test('a WebSocket ends, and so does a stream of HTTP/2 that is open both ways', async (t) => {
  const a = await upstreamOf(t, ownAddress(0), (request, response) => {
    request.resume()
    response.write('first')
  })
  a.server.on('upgrade', (_, socket: Socket) => {
    socket.on('error', () => undefined)
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
    socket.on('data', (bytes: Buffer) => socket.write(bytes))
  })
  const s = await scene(t, { a: { ...a, tunnelProtocol: 1 } })
  await meshProxy(t, s.ca, 'a', a)
  await s.route({}, [policyOf({ http: 'http1' })])
  const socket = connect({ host: '127.0.0.1', port: await s.front() }).on('error', () => undefined)
  const key = 'dGhlIHNhbXBsZSBub25jZQ=='
  socket.write(
    `GET / HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ${key}\r\n\r\n`,
  )
  t.match(String((await once(socket, 'data'))[0]), / 101 /)
  socket.write('hello')
  t.equal(String((await once(socket, 'data'))[0]), 'hello')
  const tunnel = await s.tunnel()
  const session = http2.connect('http://web', { createConnection: () => tunnel.duplex() })
  session.on('error', () => undefined)
  t.teardown(() => session.destroy())
  const stream = session.request({ ':path': '/', ':method': 'POST' }, { endStream: false })
  stream.on('error', () => undefined)
  t.equal(String((await once(stream, 'data'))[0]), 'first')
  const ended = [gone(socket), new Promise((resolve) => stream.once('close', resolve))]
  await s.policy('not-client', 'deny', [client])
  await Promise.all(ended)
  t.not(stream.rstCode, 0)
  const again = session.request({ ':path': '/' })
  const [headers] = (await once(again, 'response')) as [http2.IncomingHttpHeaders]
  t.equal(headers[':status'], 403, 'what comes next on the same connection is told why')
})

t.test('what others may still have goes on', async (t) => {
  const s = await meshed(t, (_, response) => void response.write('data: 1\n\n'))
  const first = await openStream(s)
  await s.policy('not-bank', 'deny', ['cluster.local/ns/demo/sa/bank'])
  await told(
    s,
    policyResource({ name: 'nor-here', action: 'deny', principals: ['cluster.local/ns/demo/sa/bank'] }),
  )
  t.equal((await s.get('/', { authority: '10.96.0.99:80' }).catch(() => 'refused')) === 'refused', true)
  t.equal(first.closed, false)
  t.equal(first.destroyed, false)
})

const service = (waypointOf?: string) =>
  serviceResource({
    name: 'web',
    vips: ['10.96.0.10'],
    ports: { 80: 8080 },
    ...(waypointOf === undefined ? {} : { waypoint: waypointOf }),
  })

t.test('who comes for what has another waypoint, or none, is sent away', async (t) => {
  let asked = 0
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => {
    asked++
    response.end('a')
  })
  const s = await scene(t, { a })
  await s.running.push(
    addressTypeUrl,
    serviceResource({ name: 'plain', vips: ['10.96.0.11'], ports: { 80: 1 } }),
  )
  await Promise.all([
    t.rejects(s.tunnel(`127.0.0.2:${a.port}`), { message: /503/ }, 'a pod of its namespace'),
    t.rejects(s.tunnel('10.96.0.11:80'), { message: /503/ }, 'a service of its namespace'),
  ])
  t.equal(asked, 0)
})

t.test('what had it until a moment ago is sent straight on', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('a'))
  const s = await scene(t, { a })
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  t.equal((await s.get('/', { agent })).status, 200)
  await s.running.push(addressTypeUrl, service())
  const last = await s.get('/', { agent })
  t.equal(last.status, 200)
  t.equal(last.headers.connection, 'close', 'its client is told to come another way')
  t.equal((await s.get('/')).status, 200)
})

t.test('what has another waypoint by now is not called past the policies of that one', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('a'))
  const s = await scene(t, { a })
  t.equal((await s.get('/')).status, 200)
  const east = serviceResource({ name: 'east', vips: ['10.96.0.20'], ports: { 15008: 15008 } })
  await s.running.push(addressTypeUrl, { ...east, ...service('10.96.0.20') })
  t.equal((await s.get('/')).status, 200, 'it has none')
  await s.policy('of-east', 'deny', [client], [{ kind: 'Gateway', namespace: 'demo', name: 'east' }])
  t.equal((await s.get('/')).status, 403)
})

t.test('who has heard first that something has it waits until it has heard too', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('a'))
  const s = await scene(t, { a })
  await s.running.push(addressTypeUrl, service())
  const early = s.get('/')
  await s.running.push(addressTypeUrl, service('127.0.0.1'))
  t.equal((await early).status, 200)
})

t.test('a pod that has another address owner now is not sent what its tunnel was for', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('a'))
  const s = await scene(t, { a: { ...a, waypoint: '127.0.0.1' } })
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const authority = `127.0.0.2:${a.port}`
  t.equal((await s.get('/', { agent, authority })).status, 200)
  await s.running.push(
    addressTypeUrl,
    workloadResource({ name: 'other', node: 'n2', addresses: ['127.0.0.2'], tunnelProtocol: 0 }),
    ['Kubernetes//Pod/demo/a'],
  )
  t.match(await s.get('/', { agent, authority }), { status: 503 })
  await eventually(() => s.lines().length === 2, 'both are logged')
  t.match(s.lines()[1], / 503 NC not-attached /)
})

t.test('who we are is shown by the certificate of now, also to who is called all the time', async (t) => {
  const a = await upstreamOf(t, ownAddress(2), (_, response) => void response.end('a'))
  // Renewed after five seconds, good for forty.
  const s = await scene(t, { a: { ...a, tunnelProtocol: 1 } }, {}, undefined, { lifeMs: 40_000 })
  const proxy = await meshProxy(t, s.ca, 'a', a)
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  let requests = 0
  await eventually(
    async () => {
      t.equal((await s.get('/', { agent })).status, 200)
      requests++
      return proxy.connections === 2
    },
    'a new connection',
    15_000,
  )
  t.ok(requests > 1, 'after others on the old one')
})
