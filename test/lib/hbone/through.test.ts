import { once } from 'node:events'
import t, { type Test } from 'tap'
import { MeshError } from '#base'
import { connectThrough, type InboundTunnel, type OutboundTunnel } from '#hbone'
import {
  certificateOf,
  client,
  dial,
  echo,
  idOf,
  never,
  noise,
  poolOf,
  readAll,
  type Served,
  serve,
  server,
  sha,
  tcpPair,
  towards,
  until,
} from './support.ts'

const far = certificateOf(idOf('far'))
const codeOf = (error: unknown) => (error instanceof MeshError ? error.code : String(error))

/** An HBONE server behind an HBONE gateway that forwards without looking. */
async function behindGateway(t: Test, onTunnel: (tunnel: InboundTunnel) => void) {
  const inner = await serve(t, onTunnel, {}, far)
  const gateway = await serve(t, (tunnel) => {
    void dial(inner.address).then((socket) => {
      tunnel.accept()
      return tunnel.forward(socket, never)
    })
  })
  return { inner, gateway }
}

const through = (outer: OutboundTunnel, expected = [far.id], signal = never) =>
  connectThrough(outer, {
    certificate: client,
    expected,
    authority: 'web.shop.example:80',
    headers: { 'x-forwarded-network': 'net-1' },
    signal,
  })

const empty = async ({ connections }: Served) => {
  await until(() => connections.every(({ tunnels }) => tunnels === 0))
}

t.test('a tunnel in a tunnel carries bytes both ways, and half-closes', async (t) => {
  const { inner, gateway } = await behindGateway(t, echo)
  const tunnel = await through(await poolOf(t).connect(towards(gateway.address)))
  t.equal(tunnel.peer, far.id)
  t.equal(inner.tunnels[0]?.authority, 'web.shop.example:80')
  t.equal(inner.tunnels[0]?.headers.get('x-forwarded-network'), 'net-1')
  t.equal(inner.tunnels[0]?.peer, client.id)
  const sent = noise(3 << 20)
  const stream = tunnel.duplex()
  stream.end(sent)
  t.equal(sha(await readAll(stream)), sha(sent))
  await empty(gateway)
  t.strictSame(await inner.connections[0]?.closed, {}, 'the inner connection ends in peace')
})

t.test('a tunnel in a tunnel can be forwarded', async (t) => {
  const { inner, gateway } = await behindGateway(t, echo)
  const pool = poolOf(t)
  const tunnel = await through(await pool.connect(towards(gateway.address)))
  const [app, ours] = await tcpPair(t)
  const moved = tunnel.forward(ours, never)
  const sent = noise(2 << 20)
  app.end(sent)
  t.equal(sha(await readAll(app)), sha(sent))
  t.strictSame(await moved, { toApp: sent.length, fromApp: sent.length })
  await empty(gateway)
  await inner.connections[0]?.closed
  t.equal(pool.connections, 1, 'the outer connection stays for others')
})

t.test('a reset of the inner tunnel ends both, and nothing else', async (t) => {
  const { inner, gateway } = await behindGateway(t, echo)
  const pool = poolOf(t)
  const [one, two] = await Promise.all([
    pool.connect(towards(gateway.address)).then((outer) => through(outer)),
    pool.connect(towards(gateway.address)).then((outer) => through(outer)),
  ])
  one.reset()
  await until(() => gateway.connections[0]?.tunnels === 1)
  const stream = two.duplex()
  stream.end('still here')
  t.equal((await readAll(stream)).toString(), 'still here')
  await empty(gateway)
  t.equal(gateway.connections.length, 1)
  t.equal(inner.connections.length, 2)
})

t.test('the loss of the outer connection is told to the inner tunnel', async (t) => {
  const { gateway } = await behindGateway(t, echo)
  let socket: { destroy(): void } | undefined
  const outer = await poolOf(t).connect({
    ...towards(gateway.address),
    dial: async () => {
      const dialled = await dial(gateway.address)
      socket = dialled
      return dialled
    },
  })
  const stream = (await through(outer)).duplex()
  const failed = once(stream, 'error')
  socket?.destroy()
  t.equal(codeOf((await failed)[0]), 'h2-failed')
})

const refusals: [string, (tunnel: InboundTunnel) => void, Parameters<typeof through>[1], string][] = [
  ['somebody else at the far end', echo, [server.id], 'tls-failed'],
  ['nobody expected', echo, [], 'tls-failed'],
  ['a refusal of the inner CONNECT', (tunnel) => tunnel.refuse(503), [far.id], 'http-status'],
]
for (const [title, onTunnel, expected, code] of refusals) {
  t.test(`${title} fails the attempt and ends the outer tunnel`, async (t) => {
    const { inner, gateway } = await behindGateway(t, onTunnel)
    const pool = poolOf(t)
    const outer = await pool.connect(towards(gateway.address))
    const error: unknown = await through(outer, expected).catch((e: unknown) => e)
    t.equal(codeOf(error), code)
    if (code === 'tls-failed') t.equal(inner.tunnels.length, 0, 'no CONNECT was sent')
    await empty(gateway)
    t.equal(pool.connections, 1)
  })
}

t.test('an attempt may be given up while the far end says nothing', async (t) => {
  const silent = await serve(t, (tunnel) => tunnel.accept())
  const outer = await poolOf(t).connect(towards(silent.address))
  const stop = new AbortController()
  const attempt = through(outer, [far.id], stop.signal)
  stop.abort(new Error('enough'))
  await t.rejects(attempt, { message: 'enough' })
  await empty(silent)
})
