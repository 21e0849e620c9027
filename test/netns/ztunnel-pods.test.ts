import { once } from 'node:events'
import type { Socket } from 'node:net'
import t from 'tap'
import { ip, messageOf } from '#base'
import { bindSocket, closeFd, listenSocket, tcpSocket } from '#linux'
import { zds } from '#wire'
import { completed, eventually, MeshWorld } from '../fakes/mesh-world.ts'
import { connectIn, listenIn, talk } from '../fakes/pod-net.ts'
import { echoIn, needsRoot, resourcesOf, twoNodes } from '../fakes/two-nodes.ts'

const skip = needsRoot
t.setTimeout(300_000)

t.test(
  'a pod is acked only when its listeners are bound, and retried until they are',
  { skip },
  async (t) => {
    const world = new MeshWorld('zta')
    t.teardown(() => world[Symbol.asyncDispose]())
    const pod = world.network.pod('busy', 1)
    const node = await world.node('n1')
    const squatter = tcpSocket({ netns: pod.netns, family: 'ipv6' })
    bindSocket(squatter, { address: ip('::'), port: 15006 })
    listenSocket(squatter, 1)
    t.match(await node.enrol(pod), /bind|listen/, 'the nack says what failed')
    t.match(await fetchReady(node), /workload proxy manager/, 'and we are not ready meanwhile')
    t.match(await node.ztunnel.registry.metrics(), 'workload_manager_pending_proxy_count 1')
    closeFd(squatter)
    await eventually(async () => (await fetchReady(node)) === 'ready\n', 'the retry')
    t.match(await node.ztunnel.registry.metrics(), 'workload_manager_active_proxy_count 1')
  },
)

t.test('a deleted pod loses its listeners and connections, and others do not', { skip }, async (t) => {
  const { world, n1, n2, client, server } = await twoNodes('ztd')
  const app = await listenIn(server.netns, 8080, (socket) => socket.pipe(socket))
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  t.equal(await n2.enrol(server), '', 'adding it again changes nothing')
  const open = await connectIn(client.netns, server.v4, 8080)
  open.on('error', () => undefined)
  open.write('x')
  await once(open, 'data')
  const closed = closeOf(open)
  open.resume()
  t.equal(await n2.agent.del('uid-server'), '')
  await closed
  t.pass('its connection ended')
  await eventually(() => completed(n2).length === 1, 'and was logged')
  const call = async () => talk(await connectIn(client.netns, server.v4, 8080), 'x')
  await t.rejects(call().then((answer) => (answer === '' ? Promise.reject(new Error('nothing')) : answer)))
  t.equal(await n2.enrol(server), '')
  t.equal(await call(), 'x', 'and when it is back it is served again')
  t.match(await n1.ztunnel.registry.metrics(), 'workload_manager_active_proxy_count 1')
})

t.test(
  'a released pod is served a little longer, and goes on when it is enrolled again',
  { skip },
  async (t) => {
    const { world, n2, client, server } = await twoNodes('ztr', { RELEASE_GRACE: '1h' })
    const app = await listenIn(server.netns, 8080, (socket) => socket.pipe(socket))
    t.teardown(async () => {
      app.close()
      await world[Symbol.asyncDispose]()
    })
    const open = await connectIn(client.netns, server.v4, 8080)
    open.on('error', () => undefined)
    const say = async (text: string) => {
      open.write(text)
      return String((await once(open, 'data'))[0])
    }
    t.equal(await say('before'), 'before')
    t.equal(await n2.agent.del('uid-server'), '')
    t.equal(await say('released'), 'released', 'what is open goes on')
    server.release()
    t.equal(
      await talk(await connectIn(client.netns, server.v4, 8080), 'x'),
      'x',
      'a peer that has not heard is served',
    )
    t.equal(await n2.enrol(server), '')
    const again = await connectIn(client.netns, server.v4, 8080)
    again.on('error', () => undefined)
    again.destroy()
    const metrics = await n2.ztunnel.registry.metrics()
    t.match(metrics, 'workload_manager_proxies_stopped_total 0')
    t.match(metrics, 'workload_manager_active_proxy_count 1')
    open.destroy()
  },
)

t.test('a released pod is served no longer than its grace', { skip }, async (t) => {
  const { world, n2, client, server } = await twoNodes('ztk', { RELEASE_GRACE: '100ms' })
  const app = await listenIn(server.netns, 8080, (socket) => socket.pipe(socket))
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const open = await connectIn(client.netns, server.v4, 8080)
  open.on('error', () => undefined)
  const closed = closeOf(open)
  open.resume()
  t.equal(await n2.agent.del('uid-server'), '')
  await closed
  await eventually(
    async () => (await n2.ztunnel.registry.metrics()).includes('workload_manager_proxies_stopped_total 1'),
    'the end of its proxy',
  )
})

t.test('a new connection of the agent: what its snapshot does not name is stopped', { skip }, async (t) => {
  const { world, n1, n2, client, server } = await twoNodes('zts')
  const app = await echoIn(server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  n2.agent.disconnect()
  await n2.agent.connected()
  t.equal(
    await talk(await connectIn(client.netns, server.v4, 8080), 'x'),
    `${client.v4} x`,
    'served meanwhile',
  )
  t.match(await fetchReady(n2), /workload proxy manager/)
  t.equal(await n2.agent.keep('uid-server'), '')
  t.equal(await n2.agent.snapshotSent(), '')
  await eventually(async () => (await fetchReady(n2)) === 'ready\n', 'ready after the snapshot')
  t.equal(await talk(await connectIn(client.netns, server.v4, 8080), 'x'), `${client.v4} x`, 'kept')
  n1.agent.disconnect()
  await n1.agent.connected()
  await n1.agent.snapshotSent()
  t.match(await n1.ztunnel.registry.metrics(), 'workload_manager_active_proxy_count 0')
})

t.test('an agent that breaks the protocol is told so and left', { skip }, async (t) => {
  const world = new MeshWorld('ztb')
  t.teardown(() => world[Symbol.asyncDispose]())
  const pod = world.network.pod('p', 1)
  const node = await world.node('n1')
  const workloadInfo = { name: 'p', namespace: 'demo', serviceAccount: 'p' }
  const add = (value: zds.AddWorkload) =>
    zds.WorkloadRequest.encode({ payload: { $case: 'add', value } }).finish()
  const keep = zds.WorkloadRequest.encode({ payload: { $case: 'keep', value: { uid: 'x' } } }).finish()
  const broken: [string, Uint8Array, number[]][] = [
    ['an add without descriptor', add({ uid: 'u', workloadInfo }), []],
    ['an add without its workload', add({ uid: 'u', workloadInfo: undefined }), [pod.netns.fd]],
    ['two descriptors', add({ uid: 'u', workloadInfo }), [pod.netns.fd, pod.netns.fd]],
    ['a descriptor on a keep', keep, [pod.netns.fd]],
    ['a keep after the snapshot', keep, []],
    ['no message at all', Buffer.from([0xff, 0xff, 0xff]), []],
  ]
  for (const [name, bytes, fds] of broken) {
    const hellos = node.agent.hellos
    t.not(await node.agent.raw(bytes, fds), '', name)
    await eventually(() => node.agent.hellos > hellos, 'a new connection')
    await node.agent.snapshotSent()
  }
  t.equal(await node.enrol(pod), '', 'and it still works')
})

t.test('draining: what is open goes on, nothing new comes in', { skip }, async (t) => {
  const { world, n1, n2, client, server } = await twoNodes('ztg')
  const app = await listenIn(server.netns, 8080, (socket) => socket.pipe(socket))
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const open = await connectIn(client.netns, server.v4, 8080)
  open.on('error', () => undefined)
  open.write('before')
  await once(open, 'data')
  const drained = Promise.all([n1.ztunnel.drain(), n2.ztunnel.drain()])
  // The listeners are the data worker's, which is told by message.
  await eventually(
    () =>
      connectIn(client.netns, server.v4, 8080).then(
        (socket) => !socket.destroy(),
        (error: unknown) => messageOf(error).includes('ECONNREFUSED'),
      ),
    'new connections are refused',
  )
  const { hellos } = n2.agent
  n2.agent.disconnect()
  for (const text of ['during', 'and', 'after']) {
    open.write(text)
    t.equal(String((await once(open, 'data'))[0]), text)
    await new Promise((done) => setTimeout(done, 20)) // it would be back after 10 ms
  }
  t.equal(
    n2.agent.hellos,
    hellos,
    'who leaves does not come back to the agent, which would take it for the newest',
  )
  open.end()
  await drained
  t.pass('it is over when the last connection is')
})

t.test('without IPv6 nothing listens there', { skip }, async (t) => {
  const world = new MeshWorld('ztv')
  t.teardown(() => world[Symbol.asyncDispose]())
  const pod = world.network.pod('four', 1)
  const node = await world.node('n1', { IPV6_ENABLED: 'false' })
  t.equal(await node.enrol(pod), '')
  const socket = await connectIn(pod.netns, pod.v4, 15008)
  socket.on('error', () => undefined)
  socket.destroy()
  for (const port of [15001, 15006, 15008])
    await t.rejects(connectIn(pod.netns, pod.v6, port), { code: 'ECONNREFUSED' })
})

t.test('draining ends at its deadline', { skip }, async (t) => {
  const { world, n2, client, server } = await twoNodes('zte', { CONNECTION_TERMINATION_DEADLINE: '200ms' })
  const app = await listenIn(server.netns, 8080, (socket) => socket.pipe(socket))
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const open = await connectIn(client.netns, server.v4, 8080)
  open.on('error', () => undefined)
  open.write('x')
  await once(open, 'data')
  await n2.ztunnel.drain()
  const closed = closeOf(open)
  open.resume()
  await n2.stop()
  await closed
  t.pass('then everything ends')
})

t.test(
  'certificates: one per identity of this node, forgotten with its last workload',
  { skip },
  async (t) => {
    const nodes = await twoNodes('ztc')
    const { world, n2 } = nodes
    t.teardown(() => world[Symbol.asyncDispose]())
    const identities = async () => {
      const response = await fetch(`http://127.0.0.1:${n2.ztunnel.ports.admin}/config_dump`)
      const dump = await response.text()
      t.notMatch(dump, 'PRIVATE KEY')
      return (JSON.parse(dump) as { certificates: { identity: string }[] }).certificates.map(
        (c) => c.identity,
      )
    }
    t.same(await identities(), ['spiffe://cluster.local/ns/demo/sa/server'])
    await n2.push({}, ['Kubernetes//Pod/demo/server'])
    t.same(await identities(), [])
    await n2.push(resourcesOf(nodes))
    t.same(await identities(), ['spiffe://cluster.local/ns/demo/sa/server'])
  },
)

/** `once` would reject at the reset that we wait for. */
const closeOf = (socket: Socket) => new Promise((done) => socket.once('close', done))

const fetchReady = async ({ ztunnel }: { ztunnel: { ports: { readiness: number } } }) =>
  (await fetch(`http://127.0.0.1:${ztunnel.ports.readiness}/healthz/ready`)).text()
