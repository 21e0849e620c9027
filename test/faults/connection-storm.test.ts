import { once } from 'node:events'
import type { Socket } from 'node:net'
import t from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { connectIn } from '../fakes/pod-net.ts'
import { needsRoot } from '../fakes/two-nodes.ts'
import { call, echoIn, FaultWorld, hboneConnections, quantile, report, vip } from './fault-world.ts'

// R-31, row 64: a crowd at once, on a cold pool. One dial at a time for a key, 100 tunnels to a connection, none lost.

const crowd = 2_000
const tunnelsPerConnection = 100
t.setTimeout(300_000)

t.test('2 000 connections at once', { skip: needsRoot }, async (t) => {
  const world = await FaultWorld.start('fcs')
  const app = await echoIn(world.server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const { n1, n2 } = world
  const sockets: Socket[] = []
  const latencies: number[] = []
  const failures: string[] = []
  const one = async () => {
    const began = performance.now()
    try {
      const socket = await connectIn(world.client.netns, vip, 80)
      sockets.push(socket)
      socket.on('error', () => undefined)
      const answer = once(socket, 'data', { signal: AbortSignal.timeout(60_000) })
      socket.write('x')
      await answer
      latencies.push(performance.now() - began)
    } catch (error) {
      failures.push(String(error))
    }
  }
  await Promise.all(Array.from({ length: crowd }, one))
  const connections = hboneConnections(world)
  report('conn-storm', {
    crowd,
    failed: failures.length,
    hboneConnections: connections,
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
  })
  t.same(
    Object.groupBy(failures, (text) => text),
    {},
    '0 failures',
  )
  t.ok(
    connections > 0 && connections <= Math.ceil(crowd / tunnelsPerConnection) + 1,
    `${connections} HBONE connections`,
  )
  for (const socket of sockets) socket.destroy()
  await eventually(
    async () => (await n1.ztunnel.metric('lateen_connection_descriptors')) === 0,
    'all is let go',
  )
  t.type(await call(world.client), 'number', 'and it goes on')
  for (const { ztunnel } of [n1, n2]) t.equal(await ztunnel.metric('lateen_bugs_total'), 0)
})
