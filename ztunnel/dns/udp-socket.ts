import { createSocket, type Socket } from 'node:dgram'
import { type SocketAddress, isIpv6 } from '#base'
import { bindSocket, closeFd, keepAddress } from '#linux'

/** Binds a descriptor, which the socket then owns, to an address that nobody else of the namespace can bind after that. */
export function udpSocketOn(fd: number, address: SocketAddress): Socket {
  const v6 = isIpv6(address.address)
  const socket = createSocket({
    type: v6 ? 'udp6' : 'udp4',
    // Only addresses are ever looked up, and at once: what is sent leaves in the turn in which it is made.
    lookup: (host, _, found) => found(null, host, v6 ? 6 : 4),
  })
  let isOurs = true
  try {
    // Bound first: Node sets SO_REUSEADDR, under which the kernel would give two sockets one random port.
    bindSocket(fd, address)
    socket.bind({ fd, exclusive: true })
    isOurs = false
    keepAddress(fd)
    return socket
  } catch (error) {
    socket.close()
    if (isOurs) closeFd(fd)
    throw error
  }
}
