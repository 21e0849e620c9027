import type { Socket } from 'node:net'
import { maxTimerMs, MeshError, parseIp, type SocketAddress } from '#base'
import { fdOf, originalDst } from '#linux'
import type { OpenConnection } from './open-connection.ts'

/** What a dual-stack socket calls an IPv4 address; taken off here, where it is cheap. */
const mapped = '::ffff:'

const address = (host: string | undefined, port: number | undefined): SocketAddress | undefined => {
  if (host === undefined || port === undefined) return undefined
  const parsed = parseIp(host.startsWith(mapped) ? host.slice(mapped.length) : (host.split('%')[0] ?? ''))
  return parsed === undefined ? undefined : { address: parsed, port }
}

/** Where an accepted socket comes from and was accepted; undefined when its peer is gone already. */
export function endsOf(socket: Socket): { src: SocketAddress; dst: SocketAddress } | undefined {
  const src = address(socket.remoteAddress, socket.remotePort)
  const dst = address(socket.localAddress, socket.localPort)
  return src && dst && { src, dst }
}

/** Where a redirected connection meant to go; its local address when nothing redirected it. */
export function intendedDst(socket: Socket, local: SocketAddress): SocketAddress {
  const fd = fdOf(socket)
  if (fd === undefined) throw new MeshError('connect-failed', { message: 'client disconnected early' })
  return originalDst(fd) ?? local
}

/** What every accepted or dialled socket gets: no delay, and errors that cannot escape. Keepalive comes with its descriptor. */
export function tame(socket: Socket): void {
  socket.on('error', () => undefined) // whoever uses the socket sees it destroyed; a bare 'error' would be fatal
  socket.setNoDelay(true)
}

/** Ends a connection whose application neither says nor hears anything for `ms`; 0: never. */
export function endWhenIdle(app: Socket, ms: number, tracked: Pick<OpenConnection, 'ended'>): void {
  if (ms === 0) return
  app.setTimeout(Math.min(ms, maxTimerMs), () =>
    tracked.ended(new MeshError('timeout', { message: `nothing moved for ${Math.round(ms / 1000)} s` })),
  )
}
