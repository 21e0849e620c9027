import type { RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { parseIp, type SocketAddress } from '#base'
import { udpSocket } from '#linux'
import type { Bind, DnsServer } from './bind.ts'
import { handleMessage, type Resolver } from './handle-message.ts'
import { udpSocketOn } from './udp-socket.ts'

/** Replies that the kernel has not taken yet; further ones are dropped, and the client asks again. */
const maxUnsent = 1_024
/** Turns of the loop without a datagram after which a socket's queue counts as read. */
const quietTurns = 2
/** Turns spent on reading the queue, at most: it is no longer filled. */
const maxTurns = 1_000
const discardPort = 9

type UdpServerOptions = Bind &
  Readonly<{
    resolver: Resolver
    /** The server that the sender of a datagram meant to ask, if the kernel can tell. */
    askedBy: (client: SocketAddress) => SocketAddress | undefined
  }>

/** Answers datagrams on one loopback address of the pod. */
export function serveUdp(options: UdpServerOptions): DnsServer {
  const { netns, mark, family, address, resolver, askedBy } = options
  const socket = udpSocketOn(udpSocket({ netns, family, mark, reusePort: true, v6only: true }), address)
  let waiting = 0
  let settled = () => {}
  let received = 0
  /** While draining: replies that wait until they can be sent all at once. */
  let late: (readonly [Buffer, RemoteInfo])[] | undefined
  const send = (reply: Buffer | undefined, from: RemoteInfo) => {
    if (!reply || resolver.signal.aborted || socket.getSendQueueCount() >= maxUnsent) return
    if (late) late.push([reply, from])
    else socket.send(reply, from.port, from.address, () => undefined) // a client that is gone is none of our business
  }
  socket.on('error', (error) => resolver.log.debug('DNS socket failed', { error: error.message }))
  socket.on('message', (bytes, from) => {
    received++
    // Node throws at it, and nobody is there: the kernel gives no socket port 0, but a raw one may say so.
    if (from.port === 0) return resolver.metrics.refused('malformed')
    if (!resolver.rate.allows()) return resolver.metrics.refused('rate')
    const asked = () => {
      const client = parseIp(from.address)
      return client === undefined ? undefined : askedBy({ address: client, port: from.port })
    }
    const reply = handleMessage(resolver, { bytes, transport: 'udp', asked })
    if (!(reply instanceof Promise)) return send(reply, from)
    waiting++
    void reply.then((later) => {
      send(later, from)
      if (--waiting === 0) settled()
    })
  })
  let open = true
  const close = async () => {
    if (!open) return
    open = false
    await new Promise<void>((done) => socket.close(done))
  }
  return {
    drain: async () => {
      if (!open) return
      // Connected to nobody, it gets no further datagram: those go to the sockets of our successor, if there is one.
      // A socket that just closed would lose what it has not read, and a resolver would wait five seconds.
      late = []
      socket.connect(discardPort, address.address)
      await once(socket, 'connect')
      for (let turn = 0, quiet = 0; quiet < quietTurns && turn < maxTurns; turn++) {
        const before = received
        await nextTurn()
        quiet = received === before ? quiet + 1 : 0
      }
      const all = new Promise<void>((done) => (settled = done))
      if (waiting > 0) await all
      if (!open) return
      socket.disconnect()
      const replies = late
      late = undefined
      for (const [reply, from] of replies) send(reply, from)
      await close()
    },
    [Symbol.asyncDispose]: close,
  }
}
