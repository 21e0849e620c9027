import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { Test } from 'tap'
import { hpackEncode } from '../../lib/hbone/hpack/encode.ts'
import { client, poolOf, server, sha, towards } from '../lib/hbone/support.ts'
import { type Figures, mib, startVictim, type Victim } from './h2-victim-kit.ts'

/** What one peer may make us hold. */
export const onePeer = 16 << 20

let apps = 0
/** An application in this process, on a socket whose kernel buffers are small; returns its authority. */
export async function app(t: Test, onSocket: (socket: Socket) => void): Promise<string> {
  const name = `lateen-h2-${process.pid}-${apps++}`
  const sockets = new Set<Socket>()
  const listener = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    onSocket(socket)
  })
  listener.listen({ path: `\0${name}`, backlog: 1024 })
  await once(listener, 'listening')
  t.teardown(() => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  })
  return `${name}:1`
}

export const victimOf = (t: Test, more: { bufferBytes?: number } = {}) =>
  startVictim(t, { role: 'server', own: server, peer: client, to: 0, ...more })
export const asks = (authority: string) =>
  hpackEncode([
    [':method', 'CONNECT'],
    [':authority', authority],
  ])
export const silent = () => undefined
export const endless = (socket: Socket) => {
  const chunk = Buffer.alloc(256 << 10, 1)
  const go = () => {
    while (!socket.destroyed && socket.write(chunk));
  }
  socket.on('drain', go)
  go()
}

/** Somebody else's tunnel through the same proxy: 1 MiB there and back. */
export async function neighbourServes(t: Test, victim: Victim): Promise<boolean> {
  const echo = await app(t, (socket) => void socket.pipe(socket))
  const tunnel = await poolOf(t).connect({ ...towards(victim.address), authority: echo })
  const stream = tunnel.duplex().on('error', () => undefined)
  const sent = Buffer.alloc(1 << 20, 7)
  stream.end(sent)
  const parts: Buffer[] = []
  stream.on('data', (part: Buffer) => void parts.push(part))
  await once(stream, 'end')
  return sha(Buffer.concat(parts)) === sha(sent)
}

/** The most that the victim has held since `before`. */
export async function mostOf(
  victim: Victim,
  before: Figures,
  done: (now: Figures) => boolean,
): Promise<Figures> {
  let most = before
  for (let quiet = 0; quiet < 3; ) {
    const now = await victim.measure()
    const grown = now.waiting > most.waiting || now.external > most.external + (1 << 20)
    quiet = grown || !done(now) ? 0 : quiet + 1
    most = {
      ...now,
      rss: Math.max(now.rss, most.rss),
      waiting: Math.max(now.waiting, most.waiting),
      unsent: Math.max(now.unsent, most.unsent),
      external: Math.max(now.external, most.external),
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return most
}

export const grownBy = (before: Figures, after: Figures) => ({
  rssMib: mib(after.rss - before.rss),
  externalMib: mib(after.external - before.external),
  waitingMib: mib(after.waiting),
  unsentMib: mib(after.unsent),
})
