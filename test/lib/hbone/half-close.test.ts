// Row 67 of facts/security.md: ends and resets in every order are seen as over a direct TCP connection.
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { dial, listen, never, poolOf, serve, towards } from './support.ts'

type Side = 'a' | 'b'
/** `a` has dialled `b`. Each step is over when the other side has seen it. */
type Step = readonly [Side, 'end' | 'reset' | 'destroy' | 'leave' | { write: string }]
type Ends = Readonly<Record<Side, Socket>>

const say = (side: Side, write: string): Step => [side, { write }]
const patterns: readonly (readonly [title: string, steps: readonly Step[]])[] = [
  [
    'a ends, b ends',
    [
      ['a', 'end'],
      ['b', 'end'],
    ],
  ],
  [
    'b ends, a ends',
    [
      ['b', 'end'],
      ['a', 'end'],
    ],
  ],
  ['a speaks and ends, b answers and ends', [say('a', 'one'), ['a', 'end'], say('b', 'two'), ['b', 'end']]],
  ['b speaks and ends, a answers and ends', [say('b', 'one'), ['b', 'end'], say('a', 'two'), ['a', 'end']]],
  ['a ends first, b speaks twice', [['a', 'end'], say('b', 'one'), say('b', 'two'), ['b', 'end']]],
  ['b ends first, a speaks twice', [['b', 'end'], say('a', 'one'), say('a', 'two'), ['a', 'end']]],
  ['talk, then a ends', [say('a', 'x'), say('b', 'y'), say('a', 'z'), ['a', 'end'], ['b', 'end']]],
  ['talk, then b ends', [say('a', 'x'), say('b', 'y'), say('a', 'z'), ['b', 'end'], ['a', 'end']]],
  ['a resets at once', [['a', 'reset']]],
  ['b resets at once', [['b', 'reset']]],
  ['a speaks and resets', [say('a', 'one'), ['a', 'reset']]],
  ['b speaks and resets', [say('b', 'one'), ['b', 'reset']]],
  ['a speaks, b resets', [say('a', 'one'), ['b', 'reset']]],
  ['b speaks, a resets', [say('b', 'one'), ['a', 'reset']]],
  [
    'a ends, b resets',
    [
      ['a', 'end'],
      ['b', 'reset'],
    ],
  ],
  [
    'b ends, a resets',
    [
      ['b', 'end'],
      ['a', 'reset'],
    ],
  ],
  ['a ends, b speaks and resets', [['a', 'end'], say('b', 'one'), ['b', 'reset']]],
  ['b ends, a speaks and resets', [['b', 'end'], say('a', 'one'), ['a', 'reset']]],
  [
    'a closes, b ends',
    [
      ['a', 'destroy'],
      ['b', 'leave'],
    ],
  ],
  [
    'b closes, a ends',
    [
      ['b', 'destroy'],
      ['a', 'leave'],
    ],
  ],
]

/** All that a socket is told, in order. */
function record(socket: Socket): string[] {
  const seen: string[] = []
  socket.on('data', (bytes: Buffer) => void seen.push(bytes.toString()))
  socket.on('end', () => void seen.push('end'))
  socket.on('error', (error: NodeJS.ErrnoException) => void seen.push(error.code ?? error.message))
  socket.on('close', () => void seen.push('close'))
  return seen
}

async function seenBy(t: Test, ends: Ends, steps: readonly Step[]): Promise<Record<Side, string>> {
  const seen = { a: record(ends.a), b: record(ends.b) }
  const saw = async (side: Side, what: string) => {
    const deadline = Date.now() + 20_000
    while (!seen[side].includes(what)) {
      if (Date.now() > deadline) return void t.fail(`${side} never saw ${what}: ${seen[side].join()}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  for (const [side, what] of steps) {
    const other = side === 'a' ? 'b' : 'a'
    if (typeof what === 'object') {
      ends[side].write(what.write)
      await saw(other, what.write)
    } else if (what === 'end') {
      ends[side].end()
      await saw(other, 'end')
    } else if (what === 'reset') {
      ends[side].resetAndDestroy()
      await saw(other, 'close')
    } else if (what === 'leave') ends[side].end()
    else {
      ends[side].destroy()
      await saw(other, 'end')
    }
  }
  await saw('a', 'close')
  await saw('b', 'close')
  return { a: seen.a.join(), b: seen.b.join() }
}

async function direct(t: Test): Promise<Ends> {
  const accepted = Promise.withResolvers<Socket>()
  const a = await dial(await listen(t, accepted.resolve))
  return { a, b: await accepted.promise }
}

/** a ═ TCP ═ our pool ═ HBONE ═ our server ═ TCP ═ b */
async function tunnelled(t: Test): Promise<Ends> {
  const accepted = Promise.withResolvers<Socket>()
  const app = await listen(t, accepted.resolve)
  const served = await serve(t, (tunnel) => {
    void dial(app).then((socket) => {
      tunnel.accept()
      void tunnel.forward(socket, never)
    })
  })
  const open = Promise.withResolvers<void>()
  const pool = poolOf(t)
  const entry = await listen(t, (socket) => {
    void pool.connect(towards(served.address)).then((tunnel) => {
      void tunnel.forward(socket, never)
      open.resolve()
    })
  })
  const a = await dial(entry)
  await open.promise
  return { a, b: await accepted.promise }
}

for (const [title, steps] of patterns) {
  t.test(`${title}: through a tunnel as without`, async (t) => {
    const wanted = await seenBy(t, await direct(t), steps)
    t.strictSame(await seenBy(t, await tunnelled(t), steps), wanted)
    t.ok(wanted.a.endsWith('close') && wanted.b.endsWith('close'))
  })
}
