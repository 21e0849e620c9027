import { once } from 'node:events'
import { Socket } from 'node:net'
import { formatAddress, type Ip, isIpv6, MeshError, messageOf, type SocketAddress } from '#base'
import { bindSocket, closeFd, keepAlive, type Netns, tcpSocket } from '#linux'
import { hbonePort } from '../state/index.ts'
import { deadline } from './context.ts'
import { tame } from './sockets.ts'
import type { Tuning } from './tuning.ts'

type DialOptions = Readonly<{
  netns: Netns
  mark: number
  tuning: Tuning
  /** Appear under this address instead of the pod's; it need not be local. */
  as?: Ip | undefined
  signal: AbortSignal
}>

/** Connects from inside a pod's namespace. Nothing has been sent when it fails, so another endpoint may be tried. */
export async function dial(to: SocketAddress, options: DialOptions): Promise<Socket> {
  const { signal, tuning } = options
  const socket = new Socket({ fd: openFd(to, options), allowHalfOpen: true })
  using limit = deadline(tuning.dialMs, signal)
  try {
    tame(socket)
    socket.connect({ host: to.address, port: to.port })
    await once(socket, 'connect', { signal: limit.signal })
    return socket
  } catch (cause) {
    socket.destroy()
    signal.throwIfAborted()
    throw dialError(to, cause, limit.signal.aborted)
  }
}

function dialError(to: SocketAddress, cause: unknown, timedOut: boolean): MeshError {
  if (timedOut && to.port === hbonePort)
    return new MeshError('network-policy', {
      message: `connection to ${formatAddress(to)} timed out, maybe a NetworkPolicy is blocking HBONE port 15008`,
      cause,
      unsent: true,
    })
  const message = timedOut
    ? `connection timed out, upstream ${formatAddress(to)}`
    : `connection failed: ${messageOf(cause)}`
  return new MeshError(timedOut ? 'timeout' : 'connect-failed', { message, cause, unsent: true })
}

function openFd(to: SocketAddress, { netns, mark, tuning, as }: DialOptions): number {
  const family = isIpv6(to.address) ? 'ipv6' : 'ipv4'
  // An address of the other family cannot be shown; nor is it the peer's own address that comes back to itself.
  const spoof = as !== undefined && as !== to.address && isIpv6(as) === isIpv6(to.address)
  const fd = tcpSocket({ netns, family, mark, transparent: spoof, freebind: spoof, latePort: spoof })
  try {
    if (tuning.keepAlive) keepAlive(fd, tuning.keepAlive)
    if (spoof) bindSocket(fd, { address: as, port: 0 })
    return fd
  } catch (error) {
    closeFd(fd)
    throw error
  }
}
