// What one hostile peer can make a proxy hold (H2-3, H2-5, H2-6 and row 6 of facts/security.md). The proxy is a process
// of its own.
import t, { type Test } from 'tap'
import type { HbonePool } from '#hbone'
import { hpackEncode } from '../../lib/hbone/hpack/encode.ts'
import { data, frame, headers, many, setting, type, windowUpdate } from '../lib/hbone/frames.ts'
import { poolOf, towards } from '../lib/hbone/support.ts'
import { figure, greeting, nth, streams } from './h2-attack-kit.ts'
import { isProbed, probePing, rawClient } from './h2-kit.ts'
import { opening } from './h2-rows/requests.ts'
import { mib, type Victim } from './h2-victim-kit.ts'
import {
  app,
  asks,
  endless,
  grownBy,
  mostOf,
  neighbourServes,
  onePeer,
  silent,
  victimOf,
} from './h2-victim-scene.ts'

// On a busy machine.
t.setTimeout(200_000)

/** A peer that obeys the windows, which is the only way to be allowed more, and fills all that it may. */
async function stalled(t: Test, victim: Victim, authority: string, tunnels: number): Promise<HbonePool> {
  const pool = poolOf(t, { maxPooledStreams: tunnels })
  const chunk = Buffer.alloc(64 << 10, 1)
  const attempts = Array.from({ length: tunnels }, async () => {
    const tunnel = await pool.connect({ ...towards(victim.address), authority })
    const stream = tunnel.duplex().on('error', () => undefined)
    const go = () => {
      while (!stream.destroyed && stream.write(chunk));
    }
    stream.on('drain', go)
    go()
  })
  await Promise.all(attempts)
  return pool
}

t.test('H2-5 two hundred tunnels whose applications never read hold less than 16 MiB', async (t) => {
  const victim = await victimOf(t)
  t.ok(await neighbourServes(t, victim))
  const authority = await app(t, silent)
  const before = await victim.measure()
  const pool = await stalled(t, victim, authority, 200)
  const after = await mostOf(victim, before, (now) => now.waiting > 4 << 20)
  figure(t, 'H2-5 applications that do not read', { tunnels: 200, ...grownBy(before, after) })
  t.equal(pool.connections, 1)
  t.ok(after.waiting <= onePeer)
  t.ok(after.external - before.external <= onePeer, `${mib(after.external - before.external)} MiB`)
  t.ok(await neighbourServes(t, victim), 'somebody else is served')
})

t.test('H2-5 a peer that never reads 200 endless applications makes us hold less than 16 MiB', async (t) => {
  const victim = await victimOf(t)
  t.ok(await neighbourServes(t, victim))
  const authority = await app(t, endless)
  const before = await victim.measure()
  const wire = await rawClient(t, victim)
  wire.socket.pause()
  const ids = Array.from({ length: 200 }, (_, i) => nth(i))
  wire.send([greeting, setting(4, 0x7fff_ffff), windowUpdate(0, 0x7fff_0000 - 65_535)])
  wire.send(ids.map((id) => headers(id, 0, asks(authority))))
  const after = await mostOf(victim, before, (now) => now.handles > 200)
  figure(t, 'H2-5 a peer that does not read', { tunnels: 200, ...grownBy(before, after) })
  t.ok(after.external - before.external <= onePeer, `${mib(after.external - before.external)} MiB`)
  t.ok(await neighbourServes(t, victim), 'somebody else is served')
})

t.test(
  'both at once: a peer and 200 applications that all send and never read hold less than 16 MiB',
  async (t) => {
    const victim = await victimOf(t)
    t.ok(await neighbourServes(t, victim))
    const authority = await app(t, endless)
    const before = await victim.measure()
    const wire = await rawClient(t, victim)
    wire.socket.pause()
    const ids = Array.from({ length: 200 }, (_, i) => nth(i))
    wire.send([greeting, setting(4, 0x7fff_ffff), windowUpdate(0, 0x7fff_0000 - 65_535)])
    wire.send(ids.map((id) => headers(id, 0, asks(authority))))
    // As much as the connection's window lets it send without having heard anything.
    wire.send(ids.slice(0, 127).flatMap((id) => [data(id, 32_000), data(id, 32_000)]))
    const after = await mostOf(victim, before, (now) => now.handles > 200)
    figure(t, 'H2-5 both at once', { tunnels: 200, ...grownBy(before, after) })
    t.ok(after.waiting + after.unsent <= onePeer)
    t.ok(after.external - before.external <= onePeer, `${mib(after.external - before.external)} MiB`)
    t.ok(await neighbourServes(t, victim), 'somebody else is served')
  },
)

t.test('the budget of the process holds however many peers try, and does not fail who reads', async (t) => {
  const bufferBytes = 6 << 20
  const victim = await victimOf(t, { bufferBytes })
  const authority = await app(t, silent)
  const before = await victim.measure()
  const peers = 4
  await Promise.all(Array.from({ length: peers }, () => stalled(t, victim, authority, 100)))
  const after = await mostOf(victim, before, (now) => now.waiting > 3 << 20)
  figure(t, 'budget', { bufferBytes, peers, ...grownBy(before, after) })
  t.ok(after.waiting <= bufferBytes + peers * (256 << 10), `${mib(after.waiting)} MiB`)
  t.ok(await neighbourServes(t, victim), 'somebody else is served')
})

t.test('H2-3 and H2-6 header blocks without end or of the largest size leave nothing behind', async (t) => {
  const victim = await victimOf(t)
  const authority = await app(t, silent)
  t.ok(await neighbourServes(t, victim))
  const large = (id: number) =>
    headers(
      id,
      0,
      hpackEncode([
        [':method', 'CONNECT'],
        [':authority', authority],
        ['baggage', `${id}`.padEnd(60_000, 'b')],
      ]),
    )
  const pieces = many(10_000, () => frame(type.continuation, 0, 1, Buffer.alloc(1)))
  const before = await victim.measure()
  for (const attack of [Buffer.concat([opening(1, Buffer.alloc(1)), pieces]), streams(100, large)]) {
    const wire = await rawClient(t, victim)
    wire.send([greeting, attack, probePing])
    await wire.frames(isProbed)
    wire.send(frame(type.headers, 0, 1001, Buffer.alloc(100)))
  }
  const after = await victim.measure()
  figure(t, 'H2-3 and H2-6', grownBy(before, after))
  t.ok(after.heapUsed - before.heapUsed <= 4 << 20, `${mib(after.heapUsed - before.heapUsed)} MiB of heap`)
  t.ok(after.external - before.external <= 4 << 20)
})
