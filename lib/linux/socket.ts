import { closeSync } from 'node:fs'
import type { Socket } from 'node:net'
import { ip, type Ip, type SocketAddress } from '#base'
import { addon, succeed, syscallFailed } from './addon.ts'
import { isAbsent } from './errno.ts'
import type { Netns } from './netns.ts'

/** What a socket is before it is bound or connected. */
export type SocketOptions = Readonly<{
  /** Where the socket lives for ever after; the own namespace when left out. */
  netns?: Netns | undefined
  family: 'ipv4' | 'ipv6'
  /** SO_MARK; connections accepted from a marked listener carry the mark too. */
  mark?: number | undefined
  /** May carry addresses that are not local (IP_TRANSPARENT; needs NET_ADMIN or NET_RAW). */
  transparent?: boolean | undefined
  /** May be bound to an address that does not exist (IP_FREEBIND). */
  freebind?: boolean | undefined
  /**
   * A bind to port 0 leaves the port to `connect` (IP_BIND_ADDRESS_NO_PORT). Without it the kernel looks for a port
   * that nobody uses towards anybody, which takes long when most of them are in TIME_WAIT.
   */
  latePort?: boolean | undefined
  reusePort?: boolean | undefined
  reuseAddress?: boolean | undefined
  /** An IPv6 socket for IPv6 only. By default it is dual-stack, whatever the sysctl says. */
  v6only?: boolean | undefined
}>

const flag = { transparent: 1, freebind: 2, reusePort: 4, reuseAddress: 8, v6only: 16, latePort: 32 } as const

function open(kind: 'tcp' | 'udp', options: SocketOptions): number {
  const { netns, family, mark = 0 } = options
  let flags = 0
  for (const [name, bit] of Object.entries(flag)) if (options[name as keyof typeof flag]) flags |= bit
  const fd = addon().socket(netns?.fd ?? -1, family === 'ipv6' ? 1 : 0, kind === 'udp' ? 1 : 0, flags, mark)
  return succeed(`${kind} socket`, fd)
}

/** A TCP socket (non-blocking, close-on-exec) that belongs to `netns`. The caller owns the descriptor. */
export const tcpSocket = (options: SocketOptions): number => open('tcp', options)

/** A UDP socket that belongs to `netns`. */
export const udpSocket = (options: SocketOptions): number => open('udp', options)

/** bind(2). An IPv4 address on a dual-stack socket is mapped. */
export function bindSocket(fd: number, { address, port }: Readonly<{ address: Ip; port: number }>): void {
  succeed(`bind ${address} port ${port}`, addon().bind(fd, address, port))
}

/**
 * Takes SO_REUSEADDR off a bound UDP socket. Node's dgram sets it on every descriptor that it is given, and with it any
 * process of the namespace, whoever runs it, can bind the same port and take what arrives.
 */
export function keepAddress(fd: number): void {
  succeed('setsockopt SO_REUSEADDR', addon().keepAddress(fd))
}

/** listen(2). `net.Server.listen({ fd })` calls it too; use this to fail early or to hand the descriptor on. */
export function listenSocket(fd: number, backlog: number): void {
  succeed('listen', addon().listen(fd, backlog))
}

/** When the kernel asks a silent peer whether it is still there, and when it stops asking. */
export type KeepAlive = Readonly<{
  idleMs: number
  intervalMs: number
  probes: number
  /** Sent bytes that stay unacknowledged so long break the connection (TCP_USER_TIMEOUT); 0: the system's own limit. */
  userTimeoutMs: number
}>

/** Sets keepalive on a TCP socket. What a listener accepts from then on inherits it, at no cost per connection. */
export function keepAlive(fd: number, { idleMs, intervalMs, probes, userTimeoutMs }: KeepAlive): void {
  const seconds = (ms: number) => Math.min(Math.max(1, Math.round(ms / 1000)), maxKeepAliveSeconds)
  const count = Math.min(Math.max(1, probes), maxKeepAliveProbes)
  succeed('keepalive', addon().keepAlive(fd, seconds(idleMs), seconds(intervalMs), count, userTimeoutMs))
}

/** What the kernel takes at most. */
const maxKeepAliveSeconds = 32_767
const maxKeepAliveProbes = 127

/** getsockname(2). */
export function boundAddress(fd: number): SocketAddress {
  return toAddress(succeed<readonly [string, number]>('getsockname', addon().sockname(fd)))
}

/** Where an accepted connection was meant to go before any redirect; undefined where the kernel tracks no connections. */
export function originalDst(fd: number): SocketAddress | undefined {
  const result = addon().originalDst(fd)
  if (typeof result !== 'number') return toAddress(result)
  if (isAbsent(result)) return undefined
  throw syscallFailed('getsockopt SO_ORIGINAL_DST', result)
}

/** close(2), for descriptors that were not handed to a `net` object. */
export const closeFd = (fd: number): void => closeSync(fd)

/** The descriptor of an open TCP socket, which Node has but does not show. */
export function fdOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}

const toAddress = ([address, port]: readonly [string, number]): SocketAddress => ({
  address: ip(address),
  port,
})
