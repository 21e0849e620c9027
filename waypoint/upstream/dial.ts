import { lookup } from 'node:dns'
import { once } from 'node:events'
import { BlockList, type LookupFunction, Socket } from 'node:net'
import { MeshError, messageOf, timerMs } from '#base'
import type { ConnectionLimits } from '#routes'

/** Where sockets come from; tests put them into other network namespaces. */
export type NewSocket = (host: string) => Socket

export const ordinarySocket: NewSocket = () => new Socket({ allowHalfOpen: true })

type DialOptions = Readonly<{
  newSocket: NewSocket
  timeoutMs: number
  /** Whether and how the system asks a peer that is silent whether it is there. */
  keepAlive?: ConnectionLimits['tcpKeepAlive'] | undefined
  /** A name that a stranger has chosen does not lead to our own ports. */
  farOnly?: boolean
  /** Places that nobody may be sent to, whatever a name turns out to be. */
  isOurs?: ((address: string, port: number) => boolean) | undefined
  signal: AbortSignal
}>

/** This machine, and what is beside it without a router: where clouds keep what only machines may ask for. */
const near = new BlockList()
near.addSubnet('0.0.0.0', 8)
near.addSubnet('127.0.0.0', 8)
near.addSubnet('169.254.0.0', 16)
near.addSubnet('::', 127, 'ipv6')
near.addSubnet('fe80::', 10, 'ipv6')

/** True for an address that nobody reaches from elsewhere. */
export const isNear = (address: string, family: number): boolean =>
  near.check(address, family === 6 ? 'ipv6' : 'ipv4')

/** All addresses of a name are as good as any other; the family that the system prefers stays the first. */
const inAnyOrder =
  (farOnly: boolean): LookupFunction =>
  (hostname, options, done) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error) return done(error, '')
      const addresses = farOnly ? found.filter(({ address, family }) => !isNear(address, family)) : found
      if (addresses.length === 0) return done(new Error(`${hostname} is here, where it must not be`), '')
      const [first] = addresses
      const shuffled = addresses
        .map((address) => ({ address, at: Math.random() + (address.family === first?.family ? 0 : 1) }))
        .sort((a, b) => a.at - b.at)
        .map(({ address }) => address)
      if (options.all) return done(null, shuffled)
      done(null, shuffled[0]?.address ?? '', shuffled[0]?.family)
    })
  }

/** The kernel knows no shorter times. */
const wholeSeconds = (ms: number): number => Math.ceil(ms / 1_000) * 1_000

/** Opens a TCP connection. Nothing has been sent when it fails, so another endpoint may be tried. */
export async function dial(
  to: Readonly<{ host: string; port: number }>,
  { newSocket, timeoutMs, keepAlive, farOnly = false, isOurs, signal }: DialOptions,
): Promise<Socket> {
  signal.throwIfAborted()
  const limit = new AbortController()
  const timer = setTimeout(() => limit.abort(new Error('timed out')), timerMs(timeoutMs))
  const socket = newSocket(to.host)
  socket.on('error', () => undefined) // whoever uses the socket sees it destroyed; a bare 'error' would be fatal
  try {
    socket.connect({ ...to, lookup: inAnyOrder(farOnly) })
    await once(socket, 'connect', { signal: AbortSignal.any([limit.signal, signal]) })
    if (isOurs?.(socket.remoteAddress ?? '', socket.remotePort ?? 0))
      throw new Error(`${to.host}:${to.port} is this waypoint itself`)
    if (keepAlive) {
      const { timeMs, intervalMs, probes } = keepAlive
      socket.setKeepAlive(true, wholeSeconds(timeMs), wholeSeconds(intervalMs), probes)
    }
    return socket.setNoDelay(true)
  } catch (cause) {
    socket.destroy()
    signal.throwIfAborted()
    const timedOut = limit.signal.aborted
    const message = timedOut
      ? `connection timed out, upstream ${to.host}:${to.port}`
      : `connection failed: ${messageOf(cause)}`
    throw new MeshError(timedOut ? 'timeout' : 'connect-failed', { message, cause, unsent: true })
  } finally {
    clearTimeout(timer)
  }
}
