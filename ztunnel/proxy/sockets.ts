import type { Socket } from 'node:net'
import { MeshError, parseIp, type SocketAddress } from '#base'
import { originalDst } from '#linux'

/** Idle time after which the kernel asks whether a peer is still there (ztunnel: KEEPALIVE_TIME). */
export const keepAliveMs = 180_000

/** The descriptor of an open TCP socket, which Node has but does not show. */
export function fdOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}

const address = (host: string | undefined, port: number | undefined): SocketAddress | undefined => {
  const parsed = host === undefined ? undefined : parseIp(host.split('%')[0] ?? '')
  return parsed === undefined || port === undefined ? undefined : { address: parsed, port }
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

/** What every accepted or dialled socket gets: no delay, keepalive, and errors that cannot escape. */
export function tame(socket: Socket): void {
  socket.on('error', () => undefined) // whoever uses the socket sees it destroyed; a bare 'error' would be fatal
  socket.setNoDelay(true)
  socket.setKeepAlive(true, keepAliveMs)
}
