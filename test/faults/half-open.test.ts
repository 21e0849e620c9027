import { execFileSync } from 'node:child_process'
import type { Socket } from 'node:net'
import t from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { connectIn } from '../fakes/pod-net.ts'
import { needsRoot } from '../fakes/two-nodes.ts'
import { call, echoIn, FaultWorld, hboneConnections, report, vip } from './fault-world.ts'

// rows 62 and 63: the other end vanishes without a word, comes back, and comes and goes.

/** PING after 10 s of silence, 20 s for its answer; as much again for a busy machine. */
const noticedWithinMs = 60_000
const flaps = 10
t.setTimeout(300_000)

const link = ({ network }: FaultWorld, state: 'up' | 'down') =>
  execFileSync('ip', ['-n', network.fabric, 'link', 'set', 'p2', state])

type Opened = Readonly<{ socket: Socket; heard: () => string; closed: Promise<void> }>

async function openTo(world: FaultWorld): Promise<Opened> {
  const socket = await connectIn(world.client.netns, vip, 80)
  let text = ''
  socket.on('error', () => undefined)
  socket.on('data', (part: Buffer) => (text += part.toString()))
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  return { socket, heard: () => text, closed }
}

t.test('half-open connections, and a link that comes and goes', { skip: needsRoot }, async (t) => {
  const world = await FaultWorld.start('fho')
  const app = await echoIn(world.server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })

  const flapping = await openTo(world)
  let sent = 'first;'
  flapping.socket.write(sent)
  await eventually(() => flapping.heard() === sent, 'the echo')
  for (let i = 0; i < flaps; i++) {
    link(world, 'down')
    sent += `${i};`
    flapping.socket.write(`${i};`)
    await new Promise((done) => setTimeout(done, 200))
    link(world, 'up')
    await new Promise((done) => setTimeout(done, 200))
  }
  await eventually(() => flapping.heard() === sent, 'every byte, once', 30_000)
  t.equal(flapping.heard(), sent, `${flaps} short cuts: nothing lost, nothing twice`)
  t.ok(hboneConnections(world) > 0)

  const idle = await openTo(world)
  idle.socket.write('before')
  await eventually(() => idle.heard() === 'before', 'the echo')
  link(world, 'down')
  const cut = performance.now()
  const hung = call(world.client, vip, 80, 60_000).then((result) => ({ result, ms: performance.now() - cut }))
  await Promise.all([idle.closed, flapping.closed])
  const noticedMs = Math.round(performance.now() - cut)
  t.ok(noticedMs <= noticedWithinMs, `open connections are told after ${noticedMs} ms`)
  const { result, ms: hungMs } = await hung
  t.type(result, 'string', 'what was asked across the cut fails')
  t.ok(hungMs <= noticedWithinMs, `after ${Math.round(hungMs)} ms`)

  link(world, 'up')
  const healed = performance.now()
  await eventually(
    async () => typeof (await call(world.client, vip, 80, 2_000)) === 'number',
    'service again',
  )
  const healedMs = Math.round(performance.now() - healed)
  report('half-open', { noticedMs, hungMs, result, healedMs, flaps })
})
