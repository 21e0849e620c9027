import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { type ByteStream, limitBuffers, socketBytes, unsentBudget } from '#hbone'
import { until } from '../../fakes/until.ts'
import { poolOf, serve, towards } from './support.ts'

const usualBytes = 256 << 20
t.afterEach(() => limitBuffers(usualBytes))

/** A tunnel whose other end reads nothing. */
async function stuckTunnel(t: Test): Promise<ByteStream> {
  const served = await serve(t, (tunnel) => tunnel.accept())
  const tunnel = await poolOf(t).connect(towards(served.address))
  return tunnel.byteStream()
}

/** Writes whenever there is room, until there is none for a while; what waits then. */
async function fill(stream: ByteStream): Promise<number> {
  let isFull = false
  stream.use({
    bytes: (_buffer, _start, end) => end,
    ended: () => undefined,
    drained: () => {
      isFull = false
    },
    closed: () => undefined,
  })
  const piece = Buffer.alloc(1_024, 1)
  for (let still = 0; still < 20; still++) {
    for (; !isFull; still = 0) isFull = !stream.write(piece, 0, piece.length)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return stream.pending
}

const nothingWaits = () => until(() => unsentBudget.used === 0, 'nothing waits')

t.test('a tunnel whose peer reads nothing keeps as much as there is room for', async (t) => {
  const alone = await fill(await stuckTunnel(t))
  t.ok(alone >= 8 << 10, `${alone} bytes`)
  limitBuffers(0)
  const crowded = await stuckTunnel(t)
  const waiting = await fill(crowded)
  t.ok(waiting <= 3 << 10, `${waiting} bytes where there is none`)
  t.ok(waiting > 0)
})

t.test('of an application whose reader stands still little is read where there is no room', async (t) => {
  await nothingWaits()
  const heldOf = async () => {
    const server = createServer().listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await once(server, 'listening')
    const address = server.address()
    if (typeof address !== 'object' || !address) throw new Error('no port')
    const socket = connect(address.port, '127.0.0.1')
    const [peer] = (await once(server, 'connection')) as [Socket]
    peer.on('error', () => undefined)
    peer.write(Buffer.alloc(1 << 20, 1))
    const stream = socketBytes(socket)
    stream.use({
      bytes: (_buffer, start) => start,
      ended: () => undefined,
      drained: () => undefined,
      closed: () => undefined,
    })
    await until(() => unsentBudget.used > 0, 'something is kept')
    await new Promise((resolve) => setTimeout(resolve, 100))
    const held = unsentBudget.used
    stream.destroy()
    peer.destroy()
    await nothingWaits()
    return held
  }
  const alone = await heldOf()
  t.ok(alone > 8 << 10, `${alone} bytes`)
  limitBuffers(0)
  const crowded = await heldOf()
  t.ok(crowded <= 4 << 10, `${crowded} bytes where there is none`)
})

t.test('what ends gives its room back', async (t) => {
  await nothingWaits()
  const streams = [await stuckTunnel(t), await stuckTunnel(t)]
  for (const stream of streams) await fill(stream)
  t.ok(unsentBudget.used > 0)
  for (const stream of streams) stream.destroy()
  await nothingWaits()
  t.pass('given back')
})
