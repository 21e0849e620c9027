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

/**
 * Ports under which we show an app its peer's address. The pod's connection table knows the peer's own connection to
 * that app, the one that was redirected to us: under its port ours would be taken for it, and both would be lost
 * without a word. Linux takes a peer's ports from 32768 on, so ours are below.
 */
const shownPorts = { first: 16_384, count: 16_384 } as const
/** Some of them are in use; after so many the kernel chooses. */
const maxShownPorts = 8

/** Connects from inside a pod's namespace. Nothing has been sent when it fails, so another endpoint may be tried. */
export async function dial(to: SocketAddress, options: DialOptions): Promise<Socket> {
  const { signal, tuning } = options
  const as = shownAddress(to, options)
  using limit = deadline(tuning.dialMs, signal)
  for (let tried = 0; ; tried++) {
    const isChosen = as !== undefined && tried < maxShownPorts
    const fd = openFd(to, options, as && { address: as, port: isChosen ? shownPort() : 0 })
    if (fd === 'port-in-use') {
      if (isChosen) continue
      throw new MeshError('connect-failed', { message: 'no port is left to show the peer by', unsent: true })
    }
    const socket = new Socket({ fd, allowHalfOpen: true })
    try {
      tame(socket)
      socket.connect({ host: to.address, port: to.port })
      await once(socket, 'connect', { signal: limit.signal })
      return socket
    } catch (cause) {
      socket.destroy()
      if (isChosen && isInUse(cause)) continue
      signal.throwIfAborted()
      throw dialError(to, cause, limit.signal.aborted)
    }
  }
}

const shownPort = () => shownPorts.first + Math.floor(Math.random() * shownPorts.count)

/** This port has a connection to the same app under the same address already. */
const isInUse = (cause: unknown) =>
  cause instanceof Error && 'code' in cause && cause.code === 'EADDRNOTAVAIL'

/** An address of the other family cannot be shown; nor is it the peer's own address that comes back to itself. */
const shownAddress = (to: SocketAddress, { as }: DialOptions): Ip | undefined =>
  as !== undefined && as !== to.address && isIpv6(as) === isIpv6(to.address) ? as : undefined

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

function openFd(
  to: SocketAddress,
  { netns, mark, tuning }: DialOptions,
  shown: SocketAddress | undefined,
): number | 'port-in-use' {
  const family = isIpv6(to.address) ? 'ipv6' : 'ipv4'
  const isShown = shown !== undefined
  const fd = tcpSocket({
    netns,
    family,
    mark,
    transparent: isShown,
    freebind: isShown,
    latePort: isShown,
    // The same port may lead to other apps, and to the same one again when its last connection is over.
    reuseAddress: isShown,
  })
  try {
    if (tuning.keepAlive) keepAlive(fd, tuning.keepAlive)
    if (shown) bindSocket(fd, shown)
    return fd
  } catch (error) {
    closeFd(fd)
    if (error instanceof MeshError && error.errno === addressInUse) return 'port-in-use'
    throw error
  }
}

/** EADDRINUSE: somebody in the pod listens there, or has bound it without sharing it. */
const addressInUse = 98
