// Row 65 of facts/security.md: slow readers slow nobody but themselves.
import t from 'tap'
import type { HbonePool } from '#hbone'
import { poolOf, towards, until } from '../lib/hbone/support.ts'
import { figure } from './h2-attack-kit.ts'
import { mib } from './h2-victim-kit.ts'
import { app, grownBy, mostOf, onePeer, victimOf } from './h2-victim-scene.ts'

/** Twice what a connection's window holds: more than fits in all buffers on the way. */
const wholeBytes = 16 << 20

t.test('row 65 a fast tunnel goes on beside 100 tunnels of slow readers', async (t) => {
  const victim = await victimOf(t)
  const read = { beside: 0, alone: 0 }
  const quick = (key: keyof typeof read) =>
    app(t, (socket) => {
      socket.on('data', (bytes) => (read[key] += bytes.length))
      socket.resume()
    })
  const slow = await app(t, (socket) => {
    const timer = setInterval(() => socket.read(1 << 10), 1_000)
    socket.on('close', () => clearInterval(timer))
  })
  const chunk = Buffer.alloc(64 << 10, 1)
  const pump = async (pool: HbonePool, authority: string) => {
    const tunnel = await pool.connect({ ...towards(victim.address), authority })
    const stream = tunnel.duplex().on('error', () => undefined)
    const go = () => {
      while (!stream.destroyed && stream.write(chunk));
    }
    stream.on('drain', go)
    go()
  }
  const before = await victim.measure()
  const crowded = poolOf(t, { maxPooledStreams: 101 })
  await Promise.all(Array.from({ length: 100 }, () => pump(crowded, slow)))
  const after = await mostOf(victim, before, (now) => now.waiting > 2 << 20)
  // Both at the same time, in connections of their own: whatever else the machine does hits both.
  await Promise.all([pump(crowded, await quick('beside')), pump(poolOf(t), await quick('alone'))])
  await until(() => read.beside > wholeBytes, 100_000)
  // 0.9 and more on a machine that has nothing else to do. On a busy one the way to a reader and back takes so long
  // that the window, of which the slow ones hold most, and not the reader sets the pace: 0.1.
  const ratio = Math.round((100 * read.beside) / read.alone) / 100
  figure(t, 'row 65', {
    ratio,
    besideMib: mib(read.beside),
    aloneMib: mib(read.alone),
    ...grownBy(before, after),
  })
  t.equal(crowded.connections, 1, 'the slow ones and the fast one in one connection')
  t.ok(after.external - before.external <= onePeer)
})
