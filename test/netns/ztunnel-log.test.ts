import type { Server } from 'node:net'
import t from 'tap'
import { FakeNetwork, connectIn, listenIn, type PodNet, talk } from '../fakes/pod-net.ts'
import { needsRoot, resourcesOf } from '../fakes/two-nodes.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { until } from '../fakes/until.ts'
import { ControlPlane, NodeOfProcesses, type ZtunnelProcess } from '../fakes/ztunnel-process.ts'

const skip = needsRoot
t.setTimeout(300_000)

/** Two nodes whose ztunnels log a lot. */
async function setting(test: { teardown(fn: () => unknown): unknown }, prefix: string) {
  const plane = await ControlPlane.start()
  const network = new FakeNetwork(prefix)
  const [client, server] = [network.pod('client', 1), network.pod('server', 2)]
  plane.resources = resourcesOf({ client, server })
  const env = { RUST_LOG: 'debug' }
  const nodes = [new NodeOfProcesses(plane, 'n1', env), new NodeOfProcesses(plane, 'n2', env)] as const
  nodes[0].add(client)
  nodes[1].add(server)
  const servers: Server[] = []
  test.teardown(async () => {
    for (const one of servers) one.close()
    await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()))
    network[Symbol.dispose]()
    plane[Symbol.dispose]()
  })
  servers.push(await listenIn(server.netns, 8080, (socket) => socket.pipe(socket)))
  const ztunnels = await Promise.all([nodes[0].start(), nodes[1].start()])
  for (const pod of [client, server]) pod.capture()
  return { client, server, ztunnels }
}

/** Connections, ten at a time; how many did not bring back what they sent. */
async function failures(from: PodNet, to: PodNet, count: number): Promise<number> {
  let failed = 0
  const call = async (n: number) => {
    const answer = await connectIn(from.netns, to.v4, 8080)
      .then((socket) => talk(socket, `${n}`))
      .catch(() => '')
    if (answer !== `${n}`) failed++
  }
  for (let n = 0; n < count; n += 10) await Promise.all(Array.from({ length: 10 }, (_, i) => call(n + i)))
  return failed
}
const lost = async (ztunnel: ZtunnelProcess) => {
  const answer = await fetch(`http://127.0.0.1:${ztunnel.port('stats')}/metrics`)
  return Number(/^lateen_log_lines_dropped_total (\d+)$/m.exec(await answer.text())?.[1])
}

t.test(
  'while nobody reads the log no connection fails, and it is all there afterwards',
  { skip },
  async (t) => {
    const { client, server, ztunnels } = await setting(t, 'pa')
    t.equal(await failures(client, server, 10), 0)
    for (const { stdout } of ztunnels) stdout?.pause()
    t.equal(await failures(client, server, 200), 0)
    const complete = ({ lines }: ZtunnelProcess) =>
      lines.filter(({ message }) => message === 'connection complete').length
    for (const ztunnel of ztunnels) t.ok(complete(ztunnel) < 210, 'the log is held up')
    for (const { stdout } of ztunnels) stdout?.resume()
    for (const ztunnel of ztunnels) {
      await until(() => complete(ztunnel) >= 210, 'every connection has its line')
      t.equal(await lost(ztunnel), 0)
    }
  },
)

t.test('when the log is closed no connection fails, and the lines are counted', { skip }, async (t) => {
  const { client, server, ztunnels } = await setting(t, 'pb')
  for (const { stdout } of ztunnels) stdout?.destroy()
  t.equal(await failures(client, server, 100), 0)
  for (const ztunnel of ztunnels)
    await eventually(async () => (await lost(ztunnel)) >= 100, 'every line is counted')
  t.equal(await failures(client, server, 10), 0)
  for (const ztunnel of ztunnels) t.equal(await ztunnel.kill('SIGTERM'), 0, 'and it ends well')
})
