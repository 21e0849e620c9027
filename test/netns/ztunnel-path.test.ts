import t from 'tap'
import { completed, eventually } from '../fakes/mesh-world.ts'
import { captureOn, connectIn, talk } from '../fakes/pod-net.ts'
import { echoIn, needsRoot, twoNodes } from '../fakes/two-nodes.ts'

const skip = needsRoot
const marker = 'MARKER-of-plaintext-0123456789'

t.test('captured to captured', { skip }, async (t) => {
  const { world, n1, n2, client, server, stranger } = await twoNodes('ztp')
  t.teardown(() => world[Symbol.asyncDispose]())
  const app = await echoIn(server)
  t.teardown(() => app.close())
  const capture = await captureOn(world.network.fabric)

  for (const [family, from, to, vip] of [
    ['IPv4', client.v4, server.v4, '10.96.0.10'],
    ['IPv6', client.v6, server.v6, 'fd96::10'],
  ] as const) {
    t.equal(
      await talk(await connectIn(client.netns, to, 8080), marker),
      `${from} ${marker}`,
      `${family} pod IP`,
    )
    t.equal(await talk(await connectIn(client.netns, vip, 80), marker), `${from} ${marker}`, `${family} VIP`)
  }

  await eventually(() => completed(n1).length === 4 && completed(n2).length === 4, 'four log lines each')
  const source = 'spiffe://cluster.local/ns/demo/sa/client'
  const destination = 'spiffe://cluster.local/ns/demo/sa/server'
  const [, viaService] = completed(n1)
  t.match(viaService, {
    level: 'info',
    'src.workload': 'client',
    'src.identity': source,
    'dst.addr': `${server.v4}:15008`,
    'dst.hbone_addr': `${server.v4}:8080`,
    'dst.service': 'web.demo.svc.cluster.local',
    'dst.identity': destination,
    direction: 'outbound',
    bytes_sent: marker.length,
    bytes_recv: marker.length + client.v4.length + 1,
  })
  t.match(completed(n2)[1], {
    'src.identity': source,
    'dst.identity': destination,
    'dst.addr': `${server.v4}:15008`,
    direction: 'inbound',
    bytes_sent: marker.length + client.v4.length + 1,
    bytes_recv: marker.length,
  })

  const captured = await capture.stop()
  t.ok(captured.length > 1000, `${captured.length} bytes were captured`)
  t.notOk(captured.includes(marker), 'and none of them is the plaintext')

  const plain = await captureOn(world.network.fabric)
  t.equal(await talk(await connectIn(stranger.netns, server.v4, 8080), marker), `${stranger.v4} ${marker}`)
  await eventually(() => completed(n2).length === 5, 'the log line of the stranger')
  t.match(completed(n2)[4], {
    direction: 'inbound',
    'dst.addr': `${server.v4}:8080`,
    'src.identity': undefined,
  })
  t.ok((await plain.stop()).includes(marker), 'from outside the mesh it is plaintext')
})

t.test('a pod that is its own endpoint reaches itself through the mesh', { skip }, async (t) => {
  const { world, n2, server } = await twoNodes('zti')
  const app = await echoIn(server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  for (const [vip, from] of [
    ['10.96.0.10', server.v4],
    ['fd96::10', server.v6],
  ] as const)
    t.equal(await talk(await connectIn(server.netns, vip, 80), marker), `${from} ${marker}`, vip)
  await eventually(() => completed(n2).length === 4, 'an outbound and an inbound line each')
  t.same(
    completed(n2)
      .map((line) => String(line['direction']))
      .toSorted(),
    ['inbound', 'inbound', 'outbound', 'outbound'],
  )
})

t.test('what is not in the mesh is reached as it is', { skip }, async (t) => {
  const { world, n1, client, stranger } = await twoNodes('ztn')
  const app = await echoIn(stranger)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  t.equal(await talk(await connectIn(client.netns, stranger.v4, 8080), 'x'), `${client.v4} x`)
  t.equal(await talk(await connectIn(client.netns, stranger.v6, 8080), 'x'), `${client.v6} x`)
  await eventually(() => completed(n1).length === 2, 'the log')
  t.match(completed(n1)[0], { 'dst.addr': `${stranger.v4}:8080`, 'src.workload': 'client', level: 'info' })
  t.notOk('dst.hbone_addr' in (completed(n1)[0] ?? {}))
})
