import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import t from 'tap'
import { messageOf } from '#base'
import { type InboundTunnel, serveHbone } from '#hbone'
import { spiffeId } from '#identity'
import { completed, eventually } from '../fakes/mesh-world.ts'
import { serviceResource, workloadResource } from '../fakes/mesh.ts'
import { connectIn, listenIn, talk } from '../fakes/pod-net.ts'
import { clientId, echoIn, needsRoot, resourcesOf, twoNodes } from '../fakes/two-nodes.ts'

const skip = needsRoot
const web = 'demo/web.demo.svc.cluster.local'

t.test(
  'an endpoint that does not answer costs nothing: another of the service is tried',
  { skip },
  async (t) => {
    const { world, n1, client, server, stranger } = await twoNodes('zto')
    const app = await echoIn(server)
    t.teardown(async () => {
      app.close()
      await world[Symbol.asyncDispose]()
    })
    // Nobody listens on 15008 there, and it has nearly all the weight.
    const dead = {
      name: 'dead',
      addresses: [stranger.v4],
      services: { [web]: { 80: 8080 } },
      capacity: 1_000_000,
    }
    await n1.push(workloadResource(dead))
    t.equal(await talk(await connectIn(client.netns, '10.96.0.10', 80), 'x'), `${client.v4} x`)
    await eventually(() => completed(n1).length === 1, 'one line for both attempts')
    const attempts = new RegExp(`^${stranger.v4}:15008: .*ECONNREFUSED`)
    t.match(completed(n1)[0], { level: 'info', 'dst.workload': 'server', attempts })
    t.equal(await talk(await connectIn(client.netns, '10.96.0.10', 80), 'y'), `${client.v4} y`)
    await eventually(() => completed(n1).length === 2, 'the line of the next')
    t.notOk('attempts' in (completed(n1)[1] ?? {}), 'and the next connection passes the dead one by')
    const counted = await n1.ztunnel.registry.metrics()
    t.match(counted, /istio_tcp_connections_opened_total\{[^\n]*destination_workload="server"[^\n]*\} 2/)
    t.notMatch(counted, 'destination_workload="dead"')
    t.match(counted, 'lateen_endpoints_passed_on_total{reason="connect-failed"} 1')

    await n1.push({}, ['Kubernetes//Pod/demo/server'])
    const none = await connectIn(client.netns, '10.96.0.10', 80).then(
      (socket) => talk(socket, 'x').catch((error: unknown) => messageOf(error)),
      (error: unknown) => messageOf(error),
    )
    t.not(none, `${client.v4} x`, 'with the dead one alone the connection is closed')
    await n1.push({}, ['Kubernetes//Pod/demo/dead'])
    await connectIn(client.netns, '10.96.0.10', 80).then(
      (socket) => talk(socket, 'x').catch(() => ''),
      () => '',
    )
    const failed = () => n1.lines.filter(({ message }) => message === 'connection failed')
    await eventually(() => failed().length > 0, 'a line for no endpoint at all')
    t.match(failed().at(-1), { error: /no healthy upstream/, direction: 'outbound' })
  },
)

t.test(
  'what one pod cannot reach is passed over for that pod: another finds out for itself',
  { skip },
  async (t) => {
    const { world, n1, client, server, stranger } = await twoNodes('zte')
    const app = await echoIn(server)
    t.teardown(async () => {
      app.close()
      await world[Symbol.asyncDispose]()
    })
    const other = world.network.pod('other', 4)
    await n1.push(workloadResource({ name: 'other', node: 'n1', addresses: [other.v4, other.v6] }))
    t.equal(await n1.enrol(other), '')
    other.capture()
    const services = { [web]: { 80: 8080 } }
    await n1.push(workloadResource({ name: 'dead', addresses: [stranger.v4], services, capacity: 1_000_000 }))
    for (const pod of [client, client, other])
      t.equal(await talk(await connectIn(pod.netns, '10.96.0.10', 80), 'x'), `${pod.v4} x`)
    await eventually(() => completed(n1).length === 3, 'three lines')
    const attempts = completed(n1).map((line) => [line['src.workload'], 'attempts' in line])
    t.same(attempts, [
      ['client', true],
      ['client', false],
      ['other', true],
    ])
  },
)

t.test('an endpoint whose app is down is not the end of it: another is asked', { skip }, async (t) => {
  const { world, n1, n2, client, server } = await twoNodes('ztu')
  const app = await echoIn(server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  // The same pod under another port, where nobody listens: its ztunnel answers 503.
  const services = { [web]: { 80: 9999 } }
  const down = {
    name: 'down',
    serviceAccount: 'server',
    addresses: [server.v4],
    services,
    capacity: 1_000_000,
  }
  await n1.push(workloadResource(down))
  t.equal(await talk(await connectIn(client.netns, '10.96.0.10', 80), 'x'), `${client.v4} x`)
  await eventually(() => completed(n1).length === 1, 'the line')
  t.match(completed(n1)[0], {
    level: 'info',
    'dst.hbone_addr': `${server.v4}:8080`,
    attempts: /http status: 503/,
  })
  t.match(completed(n2)[0], { level: 'error', 'dst.hbone_addr': `${server.v4}:9999` })
})

t.test(
  'a service with a waypoint goes there with the address that was dialled, or nowhere',
  { skip },
  async (t) => {
    const nodes = await twoNodes('ztw')
    const { world, n1, client, server, stranger } = nodes
    const app = await echoIn(server)
    const identity = spiffeId({ trustDomain: 'cluster.local', namespace: 'demo', serviceAccount: 'wp' })
    const certificate = world.ca.workload(identity)
    const asked: { authority: string; peer: string; headers: ReadonlyMap<string, string> }[] = []
    const stop = new AbortController()
    const waypoint = await listenIn(stranger.netns, 15008, (socket) => {
      serveHbone(socket, {
        certificate,
        signal: stop.signal,
        onTunnel: (tunnel) => {
          asked.push(tunnel)
          tunnel.accept()
          const duplex = tunnel.duplex()
          duplex.on('error', () => undefined)
          duplex.end('from the waypoint')
          duplex.resume()
        },
      })
    })
    t.teardown(async () => {
      stop.abort()
      app.close()
      waypoint.close()
      await world[Symbol.asyncDispose]()
    })
    const call = async () => {
      try {
        return await talk(await connectIn(client.netns, '10.96.0.10', 80), 'x')
      } catch (error) {
        return messageOf(error)
      }
    }
    const wp = 'demo/wp.demo.svc.cluster.local'
    await n1.push(serviceResource({ name: 'web', vips: ['10.96.0.10'], ports: { 80: 8080 }, waypoint: wp }))
    t.notMatch(await call(), client.v4, 'a waypoint that is not there is not bypassed')
    await n1.push({
      ...serviceResource({ name: 'wp', vips: ['10.96.0.99'], ports: { 15008: 15008 } }),
      ...workloadResource({ name: 'wp', addresses: [stranger.v4], services: { [wp]: { 15008: 15008 } } }),
    })
    t.equal(await call(), 'from the waypoint')
    const [tunnel] = asked
    t.equal(tunnel?.authority, '10.96.0.10:80')
    t.equal(tunnel?.peer, `spiffe://${clientId}`)
    t.match(tunnel?.headers.get('baggage'), 'k8s.namespace.name=demo')
    t.match(tunnel?.headers.get('forwarded'), `for="${client.v4}:`)
    t.match(tunnel?.headers.get('forwarded'), 'host=web.demo.svc.cluster.local')
    await n1.push(
      workloadResource({
        name: 'wp',
        serviceAccount: 'other',
        addresses: [stranger.v4],
        services: { [wp]: { 15008: 15008 } },
      }),
    )
    t.notMatch(await call(), /waypoint/, 'whoever is not the waypoint by its certificate gets no byte')
    t.equal(asked.length, 1)
    await n1.push(resourcesOf(nodes))
    t.equal(await call(), `${client.v4} x`, 'without waypoint it goes to the pod again')
  },
)

t.test(
  'a waypoint pod that is gone has another; without any the connection is refused',
  { skip },
  async (t) => {
    const nodes = await twoNodes('ztv')
    const { world, n1, client, server, stranger } = nodes
    const other = world.network.pod('other', 4)
    const app = await echoIn(server)
    let straight = 0
    app.on('connection', () => straight++)
    const certificate = world.ca.workload(
      spiffeId({ trustDomain: 'cluster.local', namespace: 'demo', serviceAccount: 'wp' }),
    )
    const waypoints = await Promise.all(
      [stranger, other].map(({ name, netns }) => {
        const abort = new AbortController()
        const onTunnel = (tunnel: InboundTunnel) => {
          tunnel.accept()
          const duplex = tunnel.duplex()
          duplex.on('error', () => undefined)
          duplex.end(`by ${name}`)
          duplex.resume()
        }
        const serve = (socket: Socket) => serveHbone(socket, { certificate, signal: abort.signal, onTunnel })
        return listenIn(netns, 15008, serve).then((listener) => ({
          kill: () => (abort.abort(), listener.close()),
        }))
      }),
    )
    t.teardown(async () => {
      app.close()
      for (const waypoint of waypoints) waypoint.kill()
      await world[Symbol.asyncDispose]()
    })
    const wp = 'demo/wp.demo.svc.cluster.local'
    const pod = (name: string, address: string) =>
      workloadResource({
        name,
        serviceAccount: 'wp',
        addresses: [address],
        services: { [wp]: { 15008: 15008 } },
      })
    await n1.push({
      ...serviceResource({ name: 'web', vips: ['10.96.0.10'], ports: { 80: 8080 }, waypoint: wp }),
      ...serviceResource({ name: 'wp', ports: { 15008: 15008 } }),
      ...pod('wp-1', stranger.v4),
      ...pod('wp-2', other.v4),
    })
    const call = async () => {
      try {
        return await talk(await connectIn(client.netns, '10.96.0.10', 80), 'x')
      } catch {
        return 'refused'
      }
    }
    const calls = async (n: number) => new Set(await Promise.all(Array.from({ length: n }, call)))
    t.same([...(await calls(40))].toSorted(), ['by other', 'by stranger'], 'both take part')
    waypoints[0]?.kill()
    t.same([...(await calls(40))], ['by other'], 'with one left nothing fails')
    waypoints[1]?.kill()
    const answers = [...(await calls(10))]
    t.ok(
      answers.every((answer) => answer === 'refused' || answer === ''),
      JSON.stringify(answers),
    )
    t.equal(straight, 0, 'and never past the waypoint')
  },
)

t.test('REGISTRY_ONLY: what nobody has told us about is refused, with its reason', { skip }, async (t) => {
  const { world, n1, client, server, stranger } = await twoNodes('ztx', {
    OUTBOUND_TRAFFIC_POLICY: 'REGISTRY_ONLY',
  })
  const app = await echoIn(server)
  let reached = 0
  const outside = await listenIn(stranger.netns, 8080, (socket) => {
    reached++
    socket.end('from outside')
  })
  t.teardown(async () => {
    app.close()
    outside.close()
    await world[Symbol.asyncDispose]()
  })
  const call = async (to: string, port: number) => {
    try {
      return await talk(await connectIn(client.netns, to, port), 'x')
    } catch {
      return 'refused'
    }
  }
  t.equal(await call(server.v4, 8080), `${client.v4} x`)
  t.equal(await call('10.96.0.10', 80), `${client.v4} x`)
  t.equal(await call(stranger.v4, 8080), 'refused')
  t.equal(await call(stranger.v6, 8080), 'refused')
  t.equal(reached, 0)
  const refused = () => n1.lines.filter(({ message }) => message === 'connection failed')
  await eventually(() => refused().length === 2, 'the lines')
  t.match(refused()[0], {
    reason: 'outside-registry',
    'dst.addr': `${stranger.v4}:8080`,
    error: /REGISTRY_ONLY/,
  })
  await n1.push(workloadResource({ name: 'stranger', tunnelProtocol: 0, addresses: [stranger.v4] }))
  t.equal(await call(stranger.v4, 8080), 'from outside', 'once it is known it is reached')
})

t.test('bytes arrive complete and in order, both ways at once, on many connections', { skip }, async (t) => {
  const { world, n1, n2, client, server } = await twoNodes('zty')
  const size = 2 << 20
  const digest = () => createHash('sha256')
  // The server sends its own bytes and, after the client's end, the digest of what it got.
  const blob = randomBytes(size)
  const app = await listenIn(server.netns, 8080, (socket) => {
    const got = digest()
    socket.on('data', (part: Buffer) => got.update(part))
    socket.write(blob)
    socket.on('end', () => socket.end(got.digest()))
  })
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const transfer = async (to: string) => {
    const mine = randomBytes(size)
    const socket = await connectIn(client.netns, to, 8080)
    const parts: Buffer[] = []
    socket.on('data', (part: Buffer) => parts.push(part))
    socket.end(mine)
    await once(socket, 'end', { signal: AbortSignal.timeout(60_000) })
    const all = Buffer.concat(parts)
    return all.subarray(0, size).equals(blob) && all.subarray(size).equals(digest().update(mine).digest())
  }
  const results = await Promise.all(
    [server.v4, server.v6, server.v4, server.v6, server.v4, server.v4].map(transfer),
  )
  t.same(
    results,
    results.map(() => true),
  )
  await eventually(
    () => completed(n1).length === results.length && completed(n2).length === results.length,
    'logs',
  )
  for (const line of completed(n1)) t.match(line, { bytes_sent: size, bytes_recv: size + 32, level: 'info' })
  t.equal(n1.ztunnel.readiness.waitingFor.length, 0)
})
