import t, { type Test } from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { connectIn } from '../fakes/pod-net.ts'
import { needsRoot } from '../fakes/two-nodes.ts'
import { type SettableClock, settableClock } from '../helpers/set-clock.ts'
import { call, echoIn, FaultWorld, hboneConnections, report, traffic, vip } from './fault-world.ts'

// R-15, row 59: the wall clock of one node is wrong, or is set while it runs.

const minute = 60
const day = 86_400
t.setTimeout(300_000)

/** Later than this a connection without tunnels is let go, so that the next call shakes hands again. */
const node = { env: { POOL_UNUSED_RELEASE_TIMEOUT: '800ms' } }

async function start(t: Test, prefix: string, clock: SettableClock): Promise<FaultWorld> {
  const world = await FaultWorld.start(prefix, node, { ...node, wrap: clock.wrap })
  const app = await echoIn(world.server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
    clock[Symbol.dispose]()
  })
  return world
}

/** The next call has to shake hands. */
const cold = (world: FaultWorld) => eventually(() => hboneConnections(world) === 0, 'no pooled connection')

const clock = needsRoot === false ? settableClock() : undefined
const skip = needsRoot || (!clock && 'no compiler to make a clock')

t.test('a clock that is wrong, and clocks that are set', { skip }, async (t) => {
  if (!clock) return
  const world = await start(t, 'fck', clock)
  const { ztunnel } = world.n2
  t.type(await call(world.client), 'number', 'served before')
  const calls: number[] = []

  for (const seconds of [2 * minute, -2 * minute]) {
    clock.ahead(seconds)
    await cold(world)
    const steady = traffic(world.client)
    await new Promise((done) => setTimeout(done, 1_000))
    await steady.stop()
    t.same(steady.failures, [], `${seconds} s: ${steady.latencies.length} calls, none fails`)
    calls.push(steady.latencies.length)
  }
  const stamp = Date.parse(String(ztunnel.lines.at(-1)?.['time']))
  t.ok(Date.now() - stamp > minute * 1_000, 'twin: it is its clock that we set')

  clock.ahead(0)
  const socket = await connectIn(world.client.netns, vip, 80)
  let heard = ''
  let closed = false
  socket.on('error', () => undefined)
  socket.on('close', () => (closed = true))
  socket.on('data', (part: Buffer) => (heard += part.toString()))
  for (const seconds of [15 * minute, -9 * minute, 5 * minute, 0]) {
    clock.ahead(seconds)
    // Longer than two beats of the timer that looks for silence and for expired peers.
    await new Promise((done) => setTimeout(done, 2_500))
    const before = heard.length
    socket.write('x')
    await eventually(() => heard.length > before, `an answer at ${seconds} s`)
  }
  t.notOk(closed, 'an open connection outlives what is set within the life of its certificates')

  const signedBefore = world.control.signed
  socket.destroy()
  await cold(world)
  clock.ahead(day)
  const ahead = await call(world.client)
  clock.ahead(-day)
  await cold(world)
  const behind = await call(world.client)
  t.type(ahead, 'string', 'a day ahead: refused')
  t.type(behind, 'string', 'a day behind: refused')
  const reasons = [...world.n1.ztunnel.lines, ...ztunnel.lines]
    .map((line) => line['error'])
    .filter((error) => typeof error === 'string')
  t.ok(
    reasons.some((text) => /clock/i.test(text)),
    'an error speaks of the clocks',
  )
  const asked = world.control.signed - signedBefore
  t.ok(asked <= 10, `the CA was asked ${asked} times meanwhile`)

  clock.ahead(0)
  const healed = performance.now()
  await eventually(
    async () => typeof (await call(world.client, vip, 80, 2_000)) === 'number',
    'service again',
    60_000,
  )
  const healedMs = Math.round(performance.now() - healed)
  t.equal(await ztunnel.metric('lateen_bugs_total'), 0)
  report('clock-skew', { calls, asked, healedMs, reasons: [...new Set(reasons)] })
})
