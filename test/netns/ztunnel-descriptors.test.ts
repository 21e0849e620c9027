import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import t from 'tap'
import { openNetns } from '#linux'
import { eventually } from '../fakes/mesh-world.ts'
import { connectIn, listenIn, talk } from '../fakes/pod-net.ts'
import { needsRoot } from '../fakes/two-nodes.ts'

const address = '10.99.0.2'
const limit = 256

/** A ztunnel that may have 256 descriptors; the app that it serves and those who call are here. */
async function limitedNode(prefix: string) {
  const args = [`--nofile=${limit}:${limit}`, process.execPath, 'test/fakes/limited-node.ts', prefix]
  const child = spawn('prlimit', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async () => JSON.parse(String((await lines.next()).value)) as never
  const { fabric, ports } = (await next()) as { fabric: string; ports: { readiness: number } }
  const netns = (pod: string) => openNetns(`/run/netns/${fabric.replace(/fab$/, pod)}`)
  const [server, stranger] = [netns('server'), netns('stranger')]
  let accepted = 0
  const app = await listenIn(server, 8080, (socket) => {
    accepted++
    socket.pipe(socket)
  })
  return {
    child,
    ports,
    stranger,
    accepted: () => accepted,
    tell: async (command: string): Promise<never> => {
      child.stdin.write(`${command}\n`)
      return next()
    },
    call: async () => {
      try {
        return await talk(await connectIn(stranger, address, 8080), 'x')
      } catch {
        return 'refused'
      }
    },
    end: async () => {
      app.close()
      child.stdin.end()
      if (child.exitCode === null) await once(child, 'exit')
      for (const open of [server, stranger]) open[Symbol.dispose]()
    },
  }
}

/** Says something and waits for the echo; the connection stays open where there is one. */
async function hold(netns: Parameters<typeof connectIn>[0]): Promise<Socket | undefined> {
  try {
    const socket = await connectIn(netns, address, 8080)
    socket.on('error', () => undefined)
    socket.write('x')
    const signal = AbortSignal.timeout(20_000)
    const first = await Promise.race([
      once(socket, 'data', { signal }),
      once(socket, 'close', { signal }).then(() => undefined),
      once(socket, 'end', { signal }).then(() => undefined),
    ])
    if (!first) socket.destroy() // half of it would stay, and keep this process
    return first ? socket : undefined
  } catch {
    return undefined
  }
}

t.test(
  'a flood of connections is refused by plan, while the control plane and probes go on',
  { skip: needsRoot },
  async (t) => {
    const node = await limitedNode('zdf')
    t.teardown(node.end)
    t.equal(await node.call(), 'x')
    const sockets = await Promise.all(Array.from({ length: 300 }, () => hold(node.stranger)))
    const open = sockets.filter((socket) => socket !== undefined)
    t.equal(open.length, 48, 'one pod has half of what connections may take, at two descriptors each')
    t.equal(await node.call(), 'refused')
    t.equal(await node.tell('push'), null, 'the control plane is heard')
    const ready = await fetch(`http://127.0.0.1:${node.ports.readiness}/healthz/ready`)
    t.equal(ready.status, 200, 'and a probe is answered')
    await ready.text()
    const metrics: string = await node.tell('metrics')
    t.match(metrics, /lateen_connections_shed_total\{reason="pod"\} 25[0-9]/)
    t.match(metrics, /lateen_connection_descriptors 96/)
    t.match(metrics, /lateen_connection_descriptors_limit 192/)

    for (const socket of open) socket.destroy()
    await eventually(async () => (await node.call()) === 'x', 'it serves again')
    t.equal(node.child.exitCode, null)
  },
)

t.test(
  'without a descriptor left nothing breaks, and it serves again as soon as there are some',
  { skip: needsRoot },
  async (t) => {
    const node = await limitedNode('zde')
    t.teardown(node.end)
    const before = await hold(node.stranger)
    t.ok(before)
    t.ok(Number(await node.tell('exhaust')) > 50)
    const accepted = node.accepted()
    const outcomes = await Promise.all(Array.from({ length: 100 }, () => node.call()))
    t.notOk(outcomes.includes('x'), 'nobody is served, and nobody waits for what cannot be')
    t.equal(node.accepted(), accepted, 'and no app was connected')
    const echoed = before ? once(before, 'data') : undefined
    before?.write('y')
    t.equal(String((await echoed)?.[0]), 'y', 'an open connection goes on')
    t.equal(await node.tell('push'), null, 'and so does the stream of the control plane')
    const { user, system }: { user: number; system: number } = await node.tell('cpu')
    await new Promise((done) => setTimeout(done, 500))
    const after: { user: number; system: number } = await node.tell('cpu')
    t.ok(after.user + after.system - user - system < 250_000, 'no loop turns in vain')

    await node.tell('release')
    await eventually(async () => (await node.call()) === 'x', 'it serves again')
    t.same(await node.tell('waitingFor'), [])
    t.equal(node.child.exitCode, null)
    before?.destroy()
  },
)
