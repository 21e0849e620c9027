// Row 42 of facts/security.md: peers that take their time. Every stage has its deadline; the limits are shortened here.
import t, { type Test } from 'tap'
import { preface } from '../../lib/hbone/frames.ts'
import { block, frame, headers, hello, none, type } from '../lib/hbone/frames.ts'
import { dial, type Served, until } from '../lib/hbone/support.ts'
import { figure, greeting, sceneOf, soonMs } from './h2-attack-kit.ts'
import { rawClient } from './h2-kit.ts'
import { opening } from './h2-rows/requests.ts'

const each = 40
const limits = {
  handshakeMs: 500,
  settingsMs: 500,
  headerBlockMs: 500,
  pingIdleMs: 200,
  pingTimeoutMs: 500,
}
const tcp = async (_t: Test, { address }: Served, bytes: Buffer) => void (await dial(address)).write(bytes)
const tls = async (t: Test, served: Served, bytes: Buffer) => (await rawClient(t, served)).send(bytes)
const kinds: [string, (t: Test, served: Served) => Promise<void>][] = [
  ['say nothing at all', (t, served) => tcp(t, served, none)],
  [
    'stop in their TLS hello',
    (t, served) => tcp(t, served, Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])),
  ],
  ['say nothing after the handshake', (t, served) => tls(t, served, none)],
  ['stop in the preface', (t, served) => tls(t, served, preface.subarray(0, 10))],
  ['do not acknowledge SETTINGS', (t, served) => tls(t, served, hello)],
  [
    'stop in a header block',
    (t, served) => tls(t, served, Buffer.concat([greeting, opening(1, block.subarray(0, 4))])),
  ],
  ['stop in a frame', (t, served) => tls(t, served, Buffer.concat([greeting, headers(1).subarray(0, 12)]))],
  [
    'do not answer PING',
    (t, served) => tls(t, served, Buffer.concat([greeting, frame(type.priority, 0, 1, Buffer.alloc(5))])),
  ],
]
for (const [title, slow] of kinds) {
  t.test(`${each} clients that ${title} are gone in time, and nobody else notices`, async (t) => {
    const { served, dials, neighbourLives } = await sceneOf(t, limits)
    const before = served.connections.length
    const began = performance.now()
    await Promise.all(Array.from({ length: each }, () => slow(t, served)))
    await until(() => served.connections.length >= before + each)
    const ends = await Promise.all(served.connections.slice(before).map(({ closed }) => closed))
    const ms = Math.round(performance.now() - began)
    figure(t, 'row 42', { title, each, ms, error: String(ends[0]?.error) })
    t.ok(ends.every(({ error }) => error !== undefined))
    t.ok(ms <= soonMs, `${ms} ms`)
    t.equal(dials.started, 0)
    t.ok(await neighbourLives())
  })
}
