// What ends a connection before its time (a policy, its age, silence, a shutdown) must not look like its end to anybody.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { forwardSockets, type OutboundTunnel, type InboundTunnel, socketBytes } from '#hbone'
import { dial, listen, poolOf, serve, towards } from './support.ts'

type Ends = Readonly<{
  a: Socket
  b: Socket
  /** At the one who dialled, at the one who was dialled. */
  near: AbortController
  far: AbortController
  outbound: OutboundTunnel
  inbound: InboundTunnel
  over: Promise<readonly unknown[]>
}>

/** a ═ TCP ═ our pool ═ HBONE ═ our server ═ TCP ═ b */
async function tunnelled(t: Test): Promise<Ends> {
  const [near, far] = [new AbortController(), new AbortController()]
  const accepted = Promise.withResolvers<Socket>()
  const app = await listen(t, accepted.resolve)
  const inbound = Promise.withResolvers<InboundTunnel>()
  const farOver = Promise.withResolvers<unknown>()
  const served = await serve(t, (tunnel) => {
    void dial(app).then((socket) => {
      tunnel.accept()
      inbound.resolve(tunnel)
      tunnel.forward(socket, far.signal).then(farOver.resolve)
    })
  })
  const outbound = Promise.withResolvers<OutboundTunnel>()
  const nearOver = Promise.withResolvers<unknown>()
  const pool = poolOf(t)
  const entry = await listen(t, (socket) => {
    void pool.connect(towards(served.address)).then((tunnel) => {
      outbound.resolve(tunnel)
      tunnel.forward(socket, near.signal).then(nearOver.resolve)
    })
  })
  const a = await dial(entry)
  const over = Promise.all([nearOver.promise, farOver.promise])
  const tunnels = { outbound: await outbound.promise, inbound: await inbound.promise }
  return { a, b: await accepted.promise, near, far, over, ...tunnels }
}

/** All that a socket is told, in order. */
function record(socket: Socket): { readonly seen: readonly string[]; readonly closed: Promise<unknown> } {
  const seen: string[] = []
  socket.on('data', (bytes: Buffer) => void seen.push(bytes.toString()))
  socket.on('end', () => {
    seen.push('end')
    socket.destroy()
  })
  socket.on('error', (error: NodeJS.ErrnoException) => void seen.push(error.code ?? error.message))
  return { seen, closed: once(socket, 'close').catch(() => undefined) }
}

async function talk({ a, b }: Readonly<{ a: Socket; b: Socket }>): Promise<void> {
  const heard = [once(a, 'data'), once(b, 'data')]
  a.write('one')
  b.write('two')
  await Promise.all(heard)
}

const why = new Error('closed due to policy change')
for (const [title, end] of [
  ['by the one who was dialled', ({ far }: Ends) => far.abort(why)],
  ['by the one who dialled', ({ near }: Ends) => near.abort(why)],
  ['by a reset where it came in', ({ inbound }: Ends) => inbound.reset()],
  ['by a reset where it went out', ({ outbound }: Ends) => outbound.reset()],
] as const) {
  t.test(`a connection ended ${title} is a reset to both applications`, async (t) => {
    const ends = await tunnelled(t)
    const [a, b] = [record(ends.a), record(ends.b)]
    await talk(ends)
    end(ends)
    await Promise.all([a.closed, b.closed])
    t.strictSame(a.seen, ['two', 'ECONNRESET'])
    t.strictSame(b.seen, ['one', 'ECONNRESET'])
    const moved = { toApp: 3, fromApp: 3 }
    t.match(await ends.over, [moved, moved])
  })
}

t.test('an application that has said its end is told of a reset all the same', async (t) => {
  const ends = await tunnelled(t)
  const a = record(ends.a)
  await talk(ends)
  const ended = once(ends.b, 'end')
  ends.a.end()
  await ended
  ends.far.abort(why)
  await a.closed
  t.strictSame(a.seen, ['two', 'ECONNRESET'], 'more might have come')
})

t.test('a plain connection that is ended before its time is a reset to both applications', async (t) => {
  const accepted = Promise.withResolvers<Socket>()
  const app = await listen(t, accepted.resolve)
  const stop = new AbortController()
  const entry = await listen(t, (socket) => {
    void dial(app).then((upstream) => forwardSockets(socket, upstream, stop.signal))
  })
  const a = await dial(entry)
  const b = await accepted.promise
  const [seenByA, seenByB] = [record(a), record(b)]
  await talk({ a, b })
  stop.abort(why)
  await Promise.all([seenByA.closed, seenByB.closed])
  t.strictSame(seenByA.seen, ['two', 'ECONNRESET'])
  t.strictSame(seenByB.seen, ['one', 'ECONNRESET'])
})

for (const [title, end, wanted] of [
  ["a socket's byte stream destroyed before its end is a reset to the other side", false, 'ECONNRESET'],
  ["a socket's byte stream destroyed after its end was sent is an end to the other side", true, 'end'],
] as const) {
  t.test(title, async (t) => {
    const to = await listen(t, (socket) => {
      const stream = socketBytes(socket)
      stream.use({
        bytes: (_, __, n) => {
          if (!end) stream.destroy()
          return n
        },
        ended: () => undefined,
        drained: () => undefined,
        closed: () => undefined,
      })
      stream.text('hi')
      if (end) stream.end()
      socket.once('finish', () => stream.destroy())
    })
    const socket = await dial(to)
    const { seen, closed } = record(socket)
    socket.once('data', () => socket.write('thanks'))
    await closed
    t.strictSame(seen, ['hi', wanted])
  })
}

t.test(
  "a tunnel's stream that is destroyed before its end is a reset to the application behind it",
  async (t) => {
    const accepted = Promise.withResolvers<Socket>()
    const app = await listen(t, accepted.resolve)
    const served = await serve(t, (tunnel) => {
      void dial(app).then((socket) => {
        tunnel.accept()
        void tunnel.forward(socket, new AbortController().signal)
      })
    })
    const stream = (await poolOf(t).connect(towards(served.address))).duplex()
    stream.on('error', () => undefined)
    const { seen, closed } = record(await accepted.promise)
    stream.write('one')
    await once(await accepted.promise, 'data')
    stream.destroy()
    await closed
    t.strictSame(seen, ['one', 'ECONNRESET'])
  },
)

t.test('a socket whose FIN is under way can be broken off, too, and is closed', async (t) => {
  const accepted = Promise.withResolvers<Socket>()
  const a = await dial(await listen(t, accepted.resolve))
  const b = await accepted.promise
  const closed = once(a, 'close')
  a.write('one')
  a.end()
  socketBytes(a).destroy()
  await closed
  await once(b.resume(), 'end')
})

t.test('what was written right before a break comes before it', async (t) => {
  const accepted = Promise.withResolvers<Socket>()
  const app = await listen(t, accepted.resolve)
  const served = await serve(t, (tunnel) => {
    void dial(app).then((socket) => {
      tunnel.accept()
      void tunnel.forward(socket, new AbortController().signal)
    })
  })
  const stream = (await poolOf(t).connect(towards(served.address))).byteStream()
  const closed = Promise.withResolvers<unknown>()
  stream.use({
    bytes: (_buffer, _start, end) => end,
    ended: () => undefined,
    drained: () => undefined,
    closed: closed.resolve,
  })
  const b = record(await accepted.promise)
  stream.text('one')
  await once(await accepted.promise, 'data')
  // In one turn of the loop: the bytes and the reset are one write to the peer.
  stream.text('two')
  stream.destroy()
  await b.closed
  t.strictSame(b.seen, ['one', 'two', 'ECONNRESET'])
  await closed.promise
})
