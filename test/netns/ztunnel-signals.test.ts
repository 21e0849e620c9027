import { once } from 'node:events'
import type { Server } from 'node:net'
import t from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { connectIn, FakeNetwork, listenIn, talk } from '../fakes/pod-net.ts'
import { needsRoot, resourcesOf } from '../fakes/two-nodes.ts'
import { ControlPlane, NodeOfProcesses } from '../fakes/ztunnel-process.ts'

const skip = needsRoot
t.setTimeout(300_000)

/** One node with a captured server, and a stranger who calls it. */
async function setting(
  t: { teardown(fn: () => unknown): unknown },
  prefix: string,
  env: Readonly<Record<string, string>>,
) {
  const plane = await ControlPlane.start()
  const network = new FakeNetwork(prefix)
  const [client, server] = [network.pod('client', 1), network.pod('server', 2)]
  plane.resources = resourcesOf({ client, server })
  const node = new NodeOfProcesses(plane, 'n2', { ZTUNNEL_WORKER_THREADS: '1', ...env })
  node.add(server)
  const servers: Server[] = []
  t.teardown(async () => {
    for (const one of servers) one.close()
    await node[Symbol.asyncDispose]()
    network[Symbol.dispose]()
    plane[Symbol.dispose]()
  })
  servers.push(await listenIn(server.netns, 8080, (socket) => socket.pipe(socket)))
  const ztunnel = await node.start()
  server.capture()
  server.migrateRequests()
  const call = () => connectIn(client.netns, server.v4, 8080).then((socket) => talk(socket, 'x'))
  const hold = async () => {
    const socket = await connectIn(client.netns, server.v4, 8080)
    socket.on('error', () => undefined)
    socket.write('x')
    await once(socket, 'data')
    socket.resume()
    return socket
  }
  return { node, ztunnel, call, hold }
}

t.test('POST /quitquitquit is answered when the last connection has ended', { skip }, async (t) => {
  const { ztunnel, call, hold } = await setting(t, 'zqq', { CONNECTION_TERMINATION_DEADLINE: '30s' })
  t.equal(await call(), 'x')
  const held = await hold()
  let answered = false
  const quit = fetch(`http://127.0.0.1:${ztunnel.port('admin')}/quitquitquit`, { method: 'POST' }).then(
    (response) => {
      answered = true
      return response.text()
    },
  )
  await eventually(
    () =>
      call().then(
        () => false,
        () => true,
      ),
    'nothing new is taken',
  )
  t.notOk(answered, 'it waits')
  held.end()
  t.equal(await quit, 'shutdown now\n')
  t.equal(await ztunnel.ended, 0)
})

t.test('the second SIGINT does not wait', { skip }, async (t) => {
  const { ztunnel, hold } = await setting(t, 'zsi', { CONNECTION_TERMINATION_DEADLINE: '1h' })
  const held = await hold()
  void ztunnel.kill('SIGINT')
  await eventually(
    () => ztunnel.lines.some(({ message }) => message === 'shutting down'),
    'the first one is heard',
  )
  t.equal(await Promise.race([ztunnel.ended, Promise.resolve('still there')]), 'still there')
  t.equal(await ztunnel.kill('SIGINT'), 0)
  held.destroy()
})

t.test('two ztunnels on a node, killed at any moment: the other serves', { skip }, async (t) => {
  const { node, ztunnel, call } = await setting(t, 'zkk', {})
  const current = [ztunnel, await node.start()]
  for (let round = 0; round < 3; round++) {
    const [victim] = current.splice(round % 2, 1)
    await victim?.kill('SIGKILL')
    for (let n = 0; n < 20; n++) t.equal(await call(), 'x')
    const next = node.startIn(undefined)
    await new Promise((done) => setTimeout(done, 150 * round)) // wherever its start is by then
    await next.kill('SIGKILL')
    for (let n = 0; n < 20; n++) t.equal(await call(), 'x')
    current.push(await node.start())
  }
})
