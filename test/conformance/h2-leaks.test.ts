// H2-7 and row 10 of facts/security.md: what connections leave behind that misbehave.
import t from 'tap'
import { data, frame, headers, none, type, windowUpdate } from '../lib/hbone/frames.ts'
import { figure, greeting } from './h2-attack-kit.ts'
import { rawClient } from './h2-kit.ts'
import { ping } from './h2-rows/requests.ts'
import { neighbourServes, victimOf } from './h2-victim-scene.ts'

const misdeeds: readonly Buffer[] = [
  ping('short'),
  headers(2),
  data(1, 1),
  windowUpdate(0, 0),
  frame(type.pushPromise, 4, 1, Buffer.alloc(9)),
  Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  frame(type.settings, 1, 0, Buffer.alloc(6)),
  headers(1, 0, Buffer.from([0x80])),
]
t.test('H2-7 connections that misbehave once and then hang leave no handle behind', async (t) => {
  const victim = await victimOf(t)
  t.ok(await neighbourServes(t, victim))
  const before = await victim.measure()
  const count = 160
  for (let i = 0; i < count; i += 32) {
    await Promise.all(
      Array.from({ length: 32 }, async (_, j) => {
        const wire = await rawClient(t, victim)
        wire.send([greeting, misdeeds[(i + j) % misdeeds.length] ?? none])
        t.ok((await wire.frames(() => false)).closed)
      }),
    )
  }
  const deadline = Date.now() + 30_000
  let after = await victim.measure()
  while (Math.abs(after.handles - before.handles) > 2 && Date.now() < deadline) after = await victim.measure()
  figure(t, 'H2-7', { count, handles: [before.handles, after.handles], fds: [before.fds, after.fds] })
  t.ok(Math.abs(after.handles - before.handles) <= 2)
  t.ok(Math.abs(after.fds - before.fds) <= 2)
  t.strictSame([after.waiting, after.unsent], [0, 0], 'nor any account open')
})
