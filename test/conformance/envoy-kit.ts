import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { Test } from 'tap'
import { ip, type SocketAddress } from '#base'
import type { HbonePool, OutboundTunnel, Transferred } from '#hbone'
import { listen, never, noise, readAll, sha, tcpPair, towards } from '../lib/hbone/support.ts'

export const textOf = ({ address, port }: SocketAddress): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

/** An app that says everything back. */
export const echoApp = (t: Test): Promise<SocketAddress> => listen(t, (socket) => void socket.pipe(socket))

/** The same on ::1. */
export async function echoApp6(t: Test): Promise<SocketAddress> {
  const app = createServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket)).listen(0, '::1')
  await once(app, 'listening')
  t.teardown(() => app.close())
  const bound = app.address()
  return { address: ip('::1'), port: typeof bound === 'object' && bound !== null ? bound.port : 0 }
}

/** Apps that hand over each connection to a test. */
export async function catching(t: Test): Promise<{ at: SocketAddress; next(): Promise<Socket> }> {
  const waiting: Socket[] = []
  let wake = Promise.withResolvers<void>()
  const at = await listen(t, (socket) => {
    waiting.push(socket)
    wake.resolve()
  })
  return {
    at,
    next: async () => {
      for (;;) {
        const socket = waiting.shift()
        if (socket) return socket
        wake = Promise.withResolvers()
        await wake.promise
      }
    },
  }
}

type Open = Readonly<{ app: Socket; done: Promise<Transferred>; tunnel: OutboundTunnel }>
type Ask = Partial<Parameters<HbonePool['connect']>[0]>

/** A local connection whose bytes go through a tunnel of `pool` to `authority`. */
export async function open(
  t: Test,
  pool: HbonePool,
  envoy: SocketAddress,
  authority: string,
  ask: Ask = {},
): Promise<Open> {
  const tunnel = await pool.connect({ ...towards(envoy), authority, ...ask })
  const [app, inner] = await tcpPair(t)
  app.on('error', () => undefined)
  return { app, tunnel, done: tunnel.forward(inner, never) }
}

/** Sends noise, ends, and says whether exactly that came back. */
export async function echoes(app: Socket, size: number): Promise<boolean> {
  const bytes = noise(size)
  app.end(bytes)
  return sha(await readAll(app)) === sha(bytes)
}

/** One line there and back, without ending anything. */
export async function pingPong(app: Socket, text: string): Promise<string> {
  const answer = once(app, 'data', { signal: AbortSignal.timeout(20_000) })
  app.write(text)
  return String((await answer)[0])
}

/** When nothing more comes, however it ended. */
export const over = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.once('close', () => resolve())
    socket.once('end', () => resolve())
  })

/** Writes without regard to back-pressure until nothing has moved for a while; how much left this process. */
export async function fill(app: Socket, part: Buffer, quietMs = 300): Promise<number> {
  let written = 0
  const parts: Promise<void>[] = []
  const most = 64
  while (parts.length < most) {
    const taken = new Promise<void>((resolve) => void app.write(part, () => resolve()))
    parts.push(taken)
    written += part.length
    const quiet = new Promise<'quiet'>((resolve) => setTimeout(resolve, quietMs, 'quiet'))
    if ((await Promise.race([taken, quiet])) === 'quiet') break
  }
  return written
}
