import t from 'tap'
import { messageOf } from '#base'
import { failOpenExtension } from '#wire'
import { completed, eventually } from '../fakes/mesh-world.ts'
import { serviceResource, workloadResource } from '../fakes/mesh.ts'
import { connectIn, talk } from '../fakes/pod-net.ts'
import { echoIn, needsRoot, twoNodes } from '../fakes/two-nodes.ts'

const skip = needsRoot
const wp = 'demo/wp.demo.svc.cluster.local'
const web = { name: 'web', vips: ['10.96.0.10'], ports: { 80: 8080 }, waypoint: wp }

t.test('a waypoint that nobody answers for', { skip }, async (t) => {
  const { world, n1, client, server, stranger } = await twoNodes('ztg')
  const app = await echoIn(server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const ask = () =>
    connectIn(client.netns, '10.96.0.10', 80).then(
      (socket) => talk(socket, 'x').catch((error: unknown) => messageOf(error)),
      (error: unknown) => messageOf(error),
    )
  const reached = `${client.v4} x`
  const early = () => n1.lines.filter(({ message }) => message === 'connection failed')
  const counted = async (outcome: string) => {
    const line = new RegExp(`^lateen_waypoint_unavailable_total\\{outcome="${outcome}"\\} (\\d+)$`, 'm')
    return Number(line.exec(await n1.ztunnel.registry.metrics())?.[1] ?? 0)
  }

  await n1.push({ ...serviceResource({ name: 'wp', ports: { 15008: 15008 } }), ...serviceResource(web) })
  t.not(await ask(), reached, 'it has no pods: refused')
  await eventually(() => early().length === 1, 'a line')
  t.match(early()[0], { reason: 'waypoint-unavailable', error: /nobody of demo\/wp.*is ready/ })
  t.same([await counted('refused'), await counted('passed')], [1, 0])

  // Nobody listens there.
  const dead = { name: 'wp', addresses: [stranger.v4], services: { [wp]: { 15008: 15008 } } }
  await n1.push(workloadResource(dead))
  t.not(await ask(), reached, 'its pod does not answer: refused')
  await eventually(() => completed(n1).length === 1, 'a line that says to whom')
  t.match(completed(n1)[0], {
    level: 'error',
    'dst.workload': 'wp',
    error: /ECONNREFUSED/,
    route: 'service-waypoint',
  })
  t.same([await counted('refused'), await counted('passed')], [2, 0])

  await n1.push(serviceResource({ ...web, extensions: [failOpenExtension] }))
  t.equal(await ask(), reached, 'but where it may be passed by it is, after it was tried')
  await eventually(() => completed(n1).length === 2, 'a line')
  const attempts = new RegExp(`^${stranger.v4}:15008: .*ECONNREFUSED`)
  t.match(completed(n1)[1], { level: 'info', 'dst.workload': 'server', route: 'past-waypoint', attempts })
  await n1.push({}, ['Kubernetes//Pod/demo/wp'])
  t.equal(await ask(), reached, 'and where it has no pods')
  t.same([await counted('refused'), await counted('passed')], [2, 2])
})
