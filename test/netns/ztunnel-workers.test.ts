import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { LogControl } from '#telemetry'
import { type Spawn, type Spawned, spawnThread } from '../../ztunnel/control/index.ts'
import { workloadResource } from '../fakes/mesh.ts'
import { eventually, MeshWorld, type WorldNode } from '../fakes/mesh-world.ts'
import { connectIn, listenIn, type PodNet, talk } from '../fakes/pod-net.ts'
import { needsRoot, resourcesOf } from '../fakes/two-nodes.ts'

const skip = needsRoot
t.setTimeout(300_000)

/** Threads as in production, and a hand on each of them. */
function threads() {
  const alive: Spawned[] = []
  const spawnWith = (logs: LogControl): Spawn => {
    const spawn = spawnThread(logs)
    return (start) => {
      const spawned = spawn(start)
      alive.push(spawned)
      void spawned.ended.then(() => alive.splice(alive.indexOf(spawned), 1))
      return spawned
    }
  }
  return { alive, spawnWith }
}

async function world(t: Test, prefix: string, env: Readonly<Record<string, string>> = {}) {
  const mesh = new MeshWorld(prefix)
  // Before anything can fail: what stays open keeps this process alive.
  t.teardown(() => mesh[Symbol.asyncDispose]())
  const client = mesh.network.pod('client', 1)
  const server = mesh.network.pod('server', 2)
  const here = threads()
  const n1 = await mesh.node('n1')
  const began = performance.now()
  const n2 = await mesh.node('n2', { ZTUNNEL_WORKER_THREADS: '3', ...env }, here.spawnWith)
  const startMs = performance.now() - began
  for (const node of [n1, n2]) await node.push(resourcesOf({ client, server }))
  for (const [node, pod] of [
    [n1, client],
    [n2, server],
  ] as const) {
    const ack = await node.enrol(pod)
    if (ack !== '') throw new Error(ack)
    pod.capture()
  }
  const app = await listenIn(server.netns, 8080, (socket) => socket.pipe(socket))
  t.teardown(() => void app.close())
  return { mesh, client, server, n1, n2, here, app, startMs }
}

const call = async ({ netns }: PodNet, { v4 }: PodNet) => talk(await connectIn(netns, v4, 8080), 'x')
const restarts = async (node: WorldNode) =>
  Number(/^lateen_data_worker_deaths_total (\d+)$/m.exec(await node.ztunnel.registry.metrics())?.[1])

/** A connection straight to a port of the pod, which lands on one of its workers. */
async function hold(from: PodNet, to: PodNet): Promise<Socket & { lost: boolean }> {
  const socket = Object.assign(await connectIn(from.netns, to.v4, 8080), { lost: false })
  socket.on('error', () => undefined)
  for (const event of ['end', 'close'])
    socket.on(event, () => {
      socket.lost = true
    })
  socket.write('x')
  await once(socket, 'data')
  socket.resume()
  return socket
}

t.test('three workers serve one pod, and are one ztunnel to whoever looks', { skip }, async (t) => {
  const { mesh, client, server, n2, here } = await world(t, 'ztw')
  const stranger = mesh.network.pod('stranger', 3)
  t.equal(here.alive.length, 3)
  const ask = () => call(stranger, server).catch((error: unknown) => String(error))
  const answers = await Promise.all(Array.from({ length: 30 }, ask))
  const wrong = answers.filter((answer) => answer !== 'x')
  t.same(wrong, [], wrong.length > 0 ? JSON.stringify(n2.lines) : 'every call is answered')
  await eventually(
    async () => (await countOf(n2, 'istio_tcp_connections_closed_total')) === 30,
    'the metrics of all workers add up',
  )
  t.match(await n2.ztunnel.registry.metrics(), 'workload_manager_active_proxy_count 1')
  t.equal(await call(client, server), 'x', 'and through a tunnel')
  const held = await Promise.all(Array.from({ length: 12 }, () => hold(stranger, server)))
  const dump = await fetch(`http://127.0.0.1:${n2.ztunnel.ports.admin}/config_dump`)
  const { workloadState } = (await dump.json()) as {
    workloadState: Record<string, { connections: { inbound: unknown[] } }>
  }
  t.equal(workloadState['uid-server']?.connections.inbound.length, 12, 'every open connection is shown')
  const filter = await fetch(`http://127.0.0.1:${n2.ztunnel.ports.admin}/logging?level=access=off`, {
    method: 'POST',
  })
  t.equal(filter.status, 200)
  const lines = n2.lines.length
  for (const socket of held) socket.destroy()
  await eventually(async () => (await countOf(n2, 'istio_tcp_sockets_open')) <= 1, 'their end')
  t.same(
    n2.lines.slice(lines).filter(({ scope }) => scope === 'access'),
    [],
    'the log filter is that of every worker',
  )
})

t.test('a worker that dies costs its own connections, and no more', { skip }, async (t) => {
  const { mesh, client, server, n2, here, startMs } = await world(t, 'ztx')
  const stranger = mesh.network.pod('stranger', 3)
  server.migrateRequests()
  const held = await Promise.all(Array.from({ length: 30 }, () => hold(stranger, server)))
  const before = await countOf(n2, 'istio_tcp_connections_opened_total')
  const seen = { ok: 0, failed: 0 }
  let going = true
  t.teardown(() => {
    going = false
  })
  const traffic = (async () => {
    while (going)
      await call(stranger, server).then(
        (answer) => void (answer === 'x' ? seen.ok++ : seen.failed++),
        () => void seen.failed++,
      )
  })()
  const [victim] = here.alive
  const killedAt = performance.now()
  await victim?.stop()
  await eventually(() => held.some(({ lost }) => lost), 'its connections end')
  await eventually(
    async () => here.alive.length === 3 && n2.ztunnel.readiness.waitingFor.length === 0,
    'another takes its place',
  )
  const tookMs = performance.now() - killedAt
  going = false
  await traffic
  // Half a second on a machine that has nothing else to do.
  t.comment(
    `back after ${Math.round(tookMs)} ms, where all took ${Math.round(startMs)} ms at first; ${seen.ok} connections meanwhile`,
  )
  const lost = held.filter((socket) => socket.lost).length
  t.ok(lost > 0 && lost < 30, `${lost} of 30 were its own`)
  for (const socket of held.filter((one) => !one.lost)) {
    socket.write('still')
    t.equal(String((await once(socket, 'data'))[0]), 'still')
    break
  }
  t.ok(seen.ok > 0)
  t.ok(seen.failed <= 1, `${seen.failed} of the new ones failed: at most the one that it was about to serve`)
  t.equal(await restarts(n2), 1)
  t.ok(
    (await countOf(n2, 'istio_tcp_connections_opened_total')) >= before,
    'what it counted is not forgotten',
  )
  for (let n = 0; n < 12; n++) t.equal(await call(client, server), 'x')
  t.equal(mesh.issued.get('spiffe://cluster.local/ns/demo/sa/server'), 1, 'the CA was not asked again')
  for (const socket of held) socket.destroy()
})

async function countOf(node: WorldNode, name: string): Promise<number> {
  const metrics = await node.ztunnel.registry.metrics()
  const values = [...metrics.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, 'gm'))]
  return values.reduce((sum, [, value]) => sum + Number(value), 0)
}

t.test(
  'a worker without memory ends alone; the process and its readiness come through',
  { skip },
  async (t) => {
    const { mesh, server, n2, here } = await world(t, 'zty', {
      ZTUNNEL_WORKER_THREADS: '1',
      WORKER_HEAP_MB: '64',
    })
    const stranger = mesh.network.pod('stranger', 3)
    t.equal(await call(stranger, server), 'x')
    const openFiles = () => readdirSync('/proc/self/fd').length
    const before = openFiles()
    const names = Array.from({ length: 60_000 }, (_, n) => `many-${n}`)
    const many = Object.assign(
      {},
      ...names.map((name) => workloadResource({ name, node: 'n9', addresses: [] })),
    )
    await n2.push(many)
    await eventually(() => n2.lines.some(({ message }) => /data worker died/.test(message)), 'it is too much')
    t.match(
      n2.lines.find(({ message }) => /data worker died/.test(message)),
      { worker: 0, reason: /memory limit/ },
    )
    await n2.push({}, Object.keys(many))
    await eventually(
      () => here.alive.length === 1 && n2.ztunnel.readiness.waitingFor.length === 0,
      'with a smaller mesh it lives again',
    )
    t.equal(await call(stranger, server), 'x')
    await eventually(() => openFiles() <= before, 'no descriptor of the dead is left')
  },
)
