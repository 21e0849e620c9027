import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { ip, MeshError } from '#base'
import { bindSocket, closeFd, type KeepAlive, keepAlive, listenSocket, type Netns, tcpSocket } from '#linux'

/** Connections that may wait to be accepted (ztunnel: 128). */
const backlog = 128

type ListenerOptions = Readonly<{
  netns: Netns
  mark: number
  /** On IPv6 too, where there is any. */
  ipv6: boolean
  /** Accept for addresses that are not ours; needs NET_ADMIN. */
  transparent: boolean
  /** What accepted connections get. */
  keepAlive?: KeepAlive | undefined
}>

/**
 * Listens on a port of a pod's namespace, on every address of both families. With SO_REUSEPORT an old and a new
 * ztunnel can overlap. A namespace without IPv6 gets IPv4 only.
 */
export async function listenInPod(
  port: number,
  options: ListenerOptions,
  onConnection: (socket: Socket) => void,
): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, onConnection)
  server.on('error', () => undefined) // after 'listening' only accept errors come, and those lose one connection
  server.listen({ fd: listeningFd(port, options), backlog })
  await once(server, 'listening')
  return server
}

function listeningFd(port: number, options: ListenerOptions): number {
  if (!options.ipv6) return listeningOn('ipv4', port, options)
  try {
    return listeningOn('ipv6', port, options)
  } catch (error) {
    const { errno } = error instanceof MeshError ? error : {}
    if (errno !== noFamily && errno !== noAddress) throw error
    return listeningOn('ipv4', port, options)
  }
}

/** EAFNOSUPPORT, EADDRNOTAVAIL: what a kernel or namespace without IPv6 answers. */
const noFamily = 97
const noAddress = 99

function listeningOn(
  family: 'ipv4' | 'ipv6',
  port: number,
  { netns, mark, transparent, keepAlive: alive }: ListenerOptions,
): number {
  const fd = tcpSocket({
    netns,
    family,
    mark,
    transparent,
    reusePort: true,
    reuseAddress: true,
    v6only: false,
  })
  try {
    if (alive) keepAlive(fd, alive)
    bindSocket(fd, { address: ip(family === 'ipv6' ? '::' : '0.0.0.0'), port })
    // Here it can fail, for the pod may be quicker: Node would close the descriptor, whose number another thread may
    // then have, and would not say so.
    listenSocket(fd, backlog)
    return fd
  } catch (error) {
    closeFd(fd)
    throw error
  }
}
