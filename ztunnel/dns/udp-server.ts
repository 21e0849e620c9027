import { createSocket, type RemoteInfo } from 'node:dgram'
import { parseIp, type SocketAddress } from '#base'
import { bindSocket, closeFd, udpSocket } from '#linux'
import { handleMessage, type Resolver } from './handle.ts'
import type { Bind } from './bind.ts'

/** Replies that the kernel has not taken yet; further ones are dropped, and the client asks again. */
const maxUnsent = 1_024

export type UdpServerOptions = Bind &
  Readonly<{
    resolver: Resolver
    /** The server that the sender of a datagram meant to ask, if the kernel can tell. */
    askedBy: (client: SocketAddress) => SocketAddress | undefined
  }>

/** Answers datagrams on one loopback address of the pod. */
export function serveUdp({
  netns,
  mark,
  address,
  family,
  resolver,
  askedBy,
}: UdpServerOptions): AsyncDisposable {
  const fd = udpSocket({ netns, family, mark, reusePort: true, v6only: true })
  const socket = createSocket(family === 'ipv6' ? 'udp6' : 'udp4')
  try {
    bindSocket(fd, address)
    socket.bind({ fd, exclusive: true })
  } catch (error) {
    socket.close()
    closeFd(fd)
    throw error
  }
  const send = (reply: Buffer | undefined, { port, address: to }: RemoteInfo) => {
    if (!reply || resolver.signal.aborted || socket.getSendQueueCount() >= maxUnsent) return
    socket.send(reply, port, to, () => undefined) // a client that is gone by now is none of our business
  }
  socket.on('error', (error) => resolver.log.debug('DNS socket failed', { error: error.message }))
  socket.on('message', (bytes, from) => {
    if (!resolver.rate.allows()) return resolver.metrics.refused('rate')
    const asked = () => {
      const client = parseIp(from.address)
      return client === undefined ? undefined : askedBy({ address: client, port: from.port })
    }
    const reply = handleMessage(resolver, { bytes, transport: 'udp', asked })
    if (reply instanceof Promise) void reply.then((late) => send(late, from))
    else send(reply, from)
  })
  return {
    [Symbol.asyncDispose]: () => new Promise((done) => socket.close(done)),
  }
}
