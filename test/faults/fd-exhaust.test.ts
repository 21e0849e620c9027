import type { Socket } from 'node:net'
import t from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { connectIn } from '../fakes/pod-net.ts'
import { needsRoot } from '../fakes/two-nodes.ts'
import { call, echoIn, FaultWorld, report, vip } from './fault-world.ts'

// R-29, row 43: descriptors run out. The process lives, its control paths work, and it serves as soon as there is room.

for (const limit of [256, 512])
  t.test(`${limit} descriptors and twice as many connections`, { skip: needsRoot }, async (t) => {
    const wrap = ['prlimit', `--nofile=${limit}:${limit}`]
    const world = await FaultWorld.start(`ffd${limit}`, { wrap }, { wrap })
    const app = await echoIn(world.server)
    t.teardown(async () => {
      app.close()
      await world[Symbol.asyncDispose]()
    })
    t.type(await call(world.client), 'number', 'served before')
    const before = world.n1.ztunnel.descriptors

    const crowd: Socket[] = []
    const attempts = Array.from({ length: 2 * limit }, async () => {
      const socket = await connectIn(world.client.netns, vip, 80)
      socket.on('error', () => undefined)
      socket.write('x')
      crowd.push(socket)
    })
    await Promise.allSettled(attempts)
    await eventually(
      async () => (await world.n1.ztunnel.metric('lateen_connections_shed_total')) > 0,
      'some are refused by plan',
    )
    const held = world.n1.ztunnel.descriptors
    t.ok(held < limit, `${held} of ${limit} descriptors in use`)
    for (const { ztunnel } of [world.n1, world.n2]) {
      t.ok(ztunnel.alive)
      t.equal((await ztunnel.get('readiness', '/healthz/ready')).status, 200, 'probes are answered')
      t.equal((await ztunnel.get('admin', '/config_dump')).status, 200, 'so is admin')
    }
    const shed = await world.n1.ztunnel.metric('lateen_connections_shed_total')
    world.control.push('type.googleapis.com/istio.workload.Address', {}, ['gone/gone'])
    await world.control.answered()
    t.pass('the control plane is heard')

    for (const socket of crowd) socket.destroy()
    const released = performance.now()
    await eventually(
      async () => typeof (await call(world.client, vip, 80, 1_000)) === 'number',
      'service again',
    )
    const recoveryMs = Math.round(performance.now() - released)
    await eventually(() => world.n1.ztunnel.descriptors <= before + 2, 'descriptors are given back')
    t.equal(await world.n1.ztunnel.metric('lateen_bugs_total'), 0)
    report('fd-exhaust', { limit, held, shed, recoveryMs })
  })
